// A NIP-90 customer as others write them, on nostr-tools: asks for text (kind 5050), pays once, takes the result.
// Its order, its output and how it ends: errand.mjs.
import {FEEDBACK, fail, giveUpInTime, heard, tell, wish} from './errand.mjs'
import {nip04, nip44} from 'nostr-tools'
import {SimplePool, useWebSocketImplementation} from 'nostr-tools/pool'
import {finalizeEvent, getPublicKey, verifyEvent} from 'nostr-tools/pure'
import {WebSocket} from 'ws'

useWebSocketImplementation(WebSocket)

const secret = Uint8Array.from(Buffer.from(wish.secret, 'hex'))
const me = getPublicKey(secret)
const pool = new SimplePool({enableReconnect: true})

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

async function take(received) {
  // Copied through JSON: nostr-tools marks what it has verified, and the mark would be believed.
  const event = JSON.parse(JSON.stringify(received))
  const valid = verifyEvent(event) && event.pubkey === wish.provider
  const content = valid ? decrypt(event) : null
  const hidden = hiddenTags(event, content)
  const tags = [...event.tags, ...(hidden ?? [])]
  const status = event.kind === FEEDBACK ? tags.find(([name]) => name === 'status')?.[1] : null
  await heard({event, valid, content, hidden, status, tags})
}

async function ask() {
  giveUpInTime()
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
