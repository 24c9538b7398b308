// What both customers share: the order they are given, paying once, what they print, and how they end.
//
//   node customer.mjs '{"relays": ["ws://…"], "provider": "<hex>", "secret": "<hex>", "text": "…"}'
//
// More keys, each optional:
//   encrypt    "none" (as without it), "nip44" or "nip04"
//   pay_base   where the program's HTTP port is; without it nothing is paid
//   kind       of the request, 5050 as a rule
//   tags       more tags for the request; inside the encrypted part where there is one
//   receipt    true: after the result, wait for the feedback `success` too
//   timeout_s  for all of it, 30 as a rule
//
// stdout: one JSON line per answering event: `event`, whether it is `valid` (signature, and it is the provider's), and
// `content` and `tags` as decrypted (null where nothing was, or could be). stderr: what it did, for people.
// Exit: 0 result came, 1 it cannot go on (stderr says why), 3 not paid, 4 out of time, 5 the provider said `error`.
import {webcrypto} from 'node:crypto'
import {paymentHash} from './bolt11.mjs'

const EXIT = {result: 0, broken: 1, unpaid: 3, late: 4, refused: 5}
export const FEEDBACK = 7000

globalThis.crypto ??= webcrypto // node 18 has it, but not as a global

export const wish = {encrypt: 'none', pay_base: null, kind: 5050, tags: [], receipt: false, timeout_s: 30, ...JSON.parse(process.argv[2])}
let paid = false
let result = false

export const tell = text => console.error(text)

// What is still to be printed goes out first: process.exit() drops what a pipe has not taken yet.
function end(code, text) {
  tell(text)
  process.stdout.write('', () => process.exit(code))
}

export function fail(error) {
  end(EXIT.broken, `cannot go on: ${error?.message ?? error}`)
}

export function giveUpInTime() {
  setTimeout(() => end(EXIT.late, `nothing more came in ${wish.timeout_s} s`), wish.timeout_s * 1000)
}

async function pay(tags) {
  if (paid) return
  paid = true
  const [, , invoice] = tags.find(([name]) => name === 'amount') ?? []
  if (!invoice) return end(EXIT.unpaid, 'asked to pay, but no invoice came along')
  if (wish.pay_base === null) return end(EXIT.unpaid, 'asked to pay, and told not to')
  try {
    const hash = paymentHash(invoice)
    const url = `${wish.pay_base}/api/dev/stub/pay/${hash}`
    const answer = await fetch(url, {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'})
    if (!answer.ok) return end(EXIT.unpaid, `paying was answered ${answer.status}: ${await answer.text()}`)
    tell(`paid ${hash}`)
  } catch (error) {
    end(EXIT.unpaid, `cannot pay: ${error.message}`)
  }
}

// One answer as the library read it: printed, and acted upon. `status` is a feedback's, `tags` are all it has.
export async function heard({event, valid, content, hidden, status, tags}) {
  console.log(JSON.stringify({event, valid, content, tags: hidden}))
  if (!valid) return
  result ||= event.kind === wish.kind + 1000
  if (result && (!wish.receipt || status === 'success')) return end(EXIT.result, 'the result came')
  if (status === 'error') return end(EXIT.refused, 'the provider said error')
  if (status === 'payment-required') await pay(tags)
}
