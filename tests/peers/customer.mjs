// A NIP-90 customer as others write them, on nostr-tools: asks for text (kind 5050), pays once, takes the result.
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
import {nip04, nip44} from 'nostr-tools'
import {SimplePool, useWebSocketImplementation} from 'nostr-tools/pool'
import {finalizeEvent, getPublicKey, verifyEvent} from 'nostr-tools/pure'
import {WebSocket} from 'ws'
import {paymentHash} from './bolt11.mjs'

const EXIT = {result: 0, broken: 1, unpaid: 3, late: 4, refused: 5}
const FEEDBACK = 7000

globalThis.crypto ??= webcrypto // node 18 has it, but not as a global
useWebSocketImplementation(WebSocket)

const wish = {encrypt: 'none', pay_base: null, kind: 5050, tags: [], receipt: false, timeout_s: 30, ...JSON.parse(process.argv[2])}
const secret = Uint8Array.from(Buffer.from(wish.secret, 'hex'))
const me = getPublicKey(secret)
const pool = new SimplePool({enableReconnect: true})
let paid = false
let result = false

const tell = text => console.error(text)

// What is still to be printed goes out first: process.exit() drops what a pipe has not taken yet.
function end(code, text) {
  tell(text)
  process.stdout.write('', () => process.exit(code))
}

const ciphers = {
  none: {encrypt: text => text},
  nip04: {
    encrypt: text => nip04.encrypt(secret, wish.provider, text),
    decrypt: text => nip04.decrypt(secret, wish.provider, text),
  },
  nip44: {
    encrypt: text => nip44.encrypt(text, nip44.getConversationKey(secret, wish.provider)),
    decrypt: text => nip44.decrypt(text, nip44.getConversationKey(secret, wish.provider)),
  },
}

function makeRequest() {
  const wanted = [['i', wish.text, 'text'], ...wish.tags]
  const open = [['p', wish.provider]]
  const template = {kind: wish.kind, created_at: Math.floor(Date.now() / 1000), tags: [...wanted, ...open], content: ''}
  if (wish.encrypt !== 'none') {
    template.tags = [...open, ['encrypted']]
    template.content = ciphers[wish.encrypt].encrypt(JSON.stringify(wanted))
  }
  return finalizeEvent(template, secret)
}

// The scheme is seen in the text itself: NIP-04 carries its vector behind `?iv=`.
function decrypt(event) {
  if (!event.tags.some(([name]) => name === 'encrypted')) return null
  try {
    return ciphers[event.content.includes('?iv=') ? 'nip04' : 'nip44'].decrypt(event.content)
  } catch (error) {
    tell(`cannot decrypt ${event.id}: ${error.message}`)
    return null
  }
}

// An encrypted feedback holds an array of tags.
function hiddenTags(event, content) {
  if (event.kind !== FEEDBACK || content === null) return null
  try {
    const tags = JSON.parse(content)
    return Array.isArray(tags) && tags.every(Array.isArray) ? tags : null
  } catch {
    return null
  }
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

async function take(received) {
  // Copied through JSON: nostr-tools marks what it has verified, and the mark would be believed.
  const event = JSON.parse(JSON.stringify(received))
  const valid = verifyEvent(event) && event.pubkey === wish.provider
  const content = valid ? decrypt(event) : null
  const hidden = hiddenTags(event, content)
  console.log(JSON.stringify({event, valid, content, tags: hidden}))
  if (!valid) return
  const tags = [...event.tags, ...(hidden ?? [])]
  const status = event.kind === FEEDBACK ? tags.find(([name]) => name === 'status')?.[1] : null
  result ||= event.kind === wish.kind + 1000
  if (result && (!wish.receipt || status === 'success')) return end(EXIT.result, 'the result came')
  if (status === 'error') return end(EXIT.refused, 'the provider said error')
  if (status === 'payment-required') await pay(tags)
}

function fail(error) {
  end(EXIT.broken, `cannot go on: ${error?.message ?? error}`)
}

async function ask() {
  setTimeout(() => end(EXIT.late, `nothing more came in ${wish.timeout_s} s`), wish.timeout_s * 1000)
  const request = makeRequest()
  const filter = {kinds: [FEEDBACK, wish.kind + 1000], '#e': [request.id], '#p': [me]}
  await new Promise(resolve => {
    pool.subscribeMany(wish.relays, filter, {
      onevent: event => take(event).catch(fail),
      oninvalidevent: event => tell(`not a valid event: ${JSON.stringify(event)}`),
      oneose: resolve,
      onclose: reasons => fail(new Error(`subscription closed: ${JSON.stringify(reasons)}`)),
    })
  })
  const answers = await Promise.allSettled(pool.publish(wish.relays, request))
  const refusals = answers.filter(({status}) => status === 'rejected').map(({reason}) => String(reason?.message ?? reason))
  if (refusals.length === answers.length) throw new Error(`no relay took the request: ${refusals.join('; ')}`)
  tell(`asked ${request.id}`)
}

ask().catch(fail)
