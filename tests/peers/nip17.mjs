// Somebody who writes private messages (NIP-17), as others write them, on nostr-tools: `node nip17.mjs`.
//
// One JSON object a line on stdin; for each, and for each message that comes, one on stdout. It ends with its stdin.
//
//   {"do": "wrap", "secret", "reader", "text"}      {"wrap", "rumor"}: a message as it would be sent
//   {"do": "open", "secret", "wrap"}                {"rumor"}, or {"error"} saying why not
//   {"do": "listen", "secret", "relays", "inbox"}   {"listening"}: `inbox` is published as kind 10050 on `relays`, null
//                                                   publishes none; then {"came", "rumor"} for each wrap that comes
//   {"do": "write", "secret", "reader", "text", "relays"}
//                                                   {"sent"}: the rumor's id. More keys: `tags` for the rumor,
//                                                   `at` in place of now
//
// Secrets are hex. stderr: for people.
import {webcrypto} from 'node:crypto'
import {createInterface} from 'node:readline'
import {nip59} from 'nostr-tools'
import {SimplePool, useWebSocketImplementation} from 'nostr-tools/pool'
import {finalizeEvent, getPublicKey, verifyEvent} from 'nostr-tools/pure'
import {WebSocket} from 'ws'

const INBOX = 10050
const WRAP = 1059
const MESSAGE = 14

globalThis.crypto ??= webcrypto // node 18 has it, but not as a global
useWebSocketImplementation(WebSocket)

const pool = new SimplePool({enableReconnect: true})
const say = answer => console.log(JSON.stringify(answer))
const bytes = hex => Uint8Array.from(Buffer.from(hex, 'hex'))
const now = () => Math.floor(Date.now() / 1000)

function make({secret, reader, text, tags = [], at = now()}) {
  const template = {kind: MESSAGE, created_at: at, tags: [['p', reader], ...tags], content: text}
  const rumor = nip59.createRumor(template, bytes(secret))
  const wrap = nip59.createWrap(nip59.createSeal(rumor, bytes(secret), reader), reader)
  return {wrap, rumor}
}

function open({secret, wrap}) {
  // Copied through JSON: nostr-tools marks what it has verified, and the mark would be believed.
  const event = JSON.parse(JSON.stringify(wrap))
  if (!verifyEvent(event)) throw new Error('the wrap is not signed by its key')
  return {rumor: nip59.unwrapEvent(event, bytes(secret))}
}

async function publish(relays, event) {
  const answers = await Promise.allSettled(pool.publish(relays, event))
  const refusals = answers.filter(({status}) => status === 'rejected').map(({reason}) => String(reason?.message ?? reason))
  if (refusals.length === answers.length) throw new Error(`no relay took it: ${refusals.join('; ')}`)
}

async function listen({secret, relays, inbox = null}) {
  const me = getPublicKey(bytes(secret))
  const receive = wrap => {
    try {
      say({came: wrap, ...open({secret, wrap})})
    } catch (error) {
      say({came: wrap, error: error.message})
    }
  }
  await new Promise(resolve => {
    pool.subscribeMany(relays, {kinds: [WRAP], '#p': [me]}, {
      onevent: receive,
      oneose: resolve,
      onclose: reasons => console.error(reasons),
      // A relay that shows messages only to their readers asks who this is (NIP-42).
      onauth: async template => finalizeEvent(template, bytes(secret)),
    })
  })
  if (inbox !== null) {
    const tags = inbox.map(url => ['relay', url])
    await publish(relays, finalizeEvent({kind: INBOX, created_at: now(), tags, content: ''}, bytes(secret)))
  }
  return {listening: me}
}

async function write(wish) {
  const {wrap, rumor} = make(wish)
  await publish(wish.relays, wrap)
  return {sent: rumor.id}
}

const deeds = {wrap: make, open, listen, write}

for await (const line of createInterface({input: process.stdin})) {
  const wish = JSON.parse(line)
  try {
    say(await deeds[wish.do](wish))
  } catch (error) {
    say({error: error?.message ?? String(error)})
  }
}
process.exit(0)
