// The payment hash inside a BOLT 11 invoice, read without any code of the program under test.

const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const GENERATORS = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]
const CHECKSUM_WORDS = 6
const TIMESTAMP_WORDS = 7
const SIGNATURE_WORDS = 104
const HASH_TYPE = 1 // `p`
const HASH_WORDS = 52

export function paymentHash(invoice) {
  const words = bech32Words(invoice)
  const end = words.length - SIGNATURE_WORDS
  for (let at = TIMESTAMP_WORDS; at + 3 <= end; ) {
    const [type, high, low] = words.slice(at, at + 3)
    const length = high * 32 + low
    at += 3
    if (type === HASH_TYPE && length === HASH_WORDS) return hex(words.slice(at, at + length))
    at += length
  }
  throw new Error('the invoice holds no payment hash')
}

// BIP 173, without its limit of 90 characters, which BOLT 11 lifts.
function bech32Words(text) {
  const lower = text.toLowerCase()
  if (text !== lower && text !== text.toUpperCase()) throw new Error('the invoice mixes upper and lower case')
  const split = lower.lastIndexOf('1')
  const prefix = lower.slice(0, split)
  if (!prefix.startsWith('ln')) throw new Error('the invoice does not begin with ln')
  const words = [...lower.slice(split + 1)].map(letter => ALPHABET.indexOf(letter))
  if (words.includes(-1)) throw new Error('the invoice holds a letter that bech32 does not have')
  const codes = [...prefix].map(letter => letter.charCodeAt(0))
  const expanded = [...codes.map(code => code >> 5), 0, ...codes.map(code => code & 31), ...words]
  if (polymod(expanded) !== 1) throw new Error('the checksum of the invoice is wrong')
  return words.slice(0, -CHECKSUM_WORDS)
}

function polymod(values) {
  let sum = 1
  for (const value of values) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    GENERATORS.forEach((generator, bit) => {
      if ((top >> bit) & 1) sum ^= generator
    })
  }
  return sum
}

// The last bits of 52 words are padding: 260 of them hold 256.
function hex(words) {
  const bits = words.map(word => word.toString(2).padStart(5, '0')).join('')
  return bits
    .slice(0, 256)
    .match(/.{4}/g)
    .map(four => parseInt(four, 2).toString(16))
    .join('')
}
