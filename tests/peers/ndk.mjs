// A NIP-90 customer on NDK, with the classes it has for it: the same errand as customer.mjs.
// Its order, its output and how it ends: errand.mjs.
import {FEEDBACK, fail, giveUpInTime, heard, tell, wish} from './errand.mjs'
import NDK, {NDKDVMJobFeedback, NDKDVMJobResult, NDKDVMRequest, NDKPrivateKeySigner, NDKRelaySet} from '@nostr-dev-kit/ndk'
import {WebSocket} from 'ws'

globalThis.WebSocket ??= WebSocket // node has one since 22

const ndk = new NDK({
  explicitRelayUrls: wish.relays,
  signer: new NDKPrivateKeySigner(wish.secret),
  enableOutboxModel: false, // it would look for the relays of its keys elsewhere
})
const provider = ndk.getUser({pubkey: wish.provider})

async function makeRequest() {
  const request = new NDKDVMRequest(ndk)
  request.kind = wish.kind
  request.content = ''
  request.addInput(wish.text, 'text')
  for (const [name, ...values] of wish.tags) {
    if (name === 'i') request.addInput(...values)
    else if (name === 'param') request.addParam(...values)
    else if (name === 'bid') request.bid = Number(values[0])
    else request.tags.push([name, ...values])
  }
  if (wish.encrypt === 'none') request.dvm = provider
  if (wish.encrypt === 'nip44') await request.encryption(provider)
  if (wish.encrypt === 'nip04') await encryptTheOldWay(request)
  await request.sign()
  return request
}

// NDK's own method knows NIP-44 alone; a client that wants the scheme of NIP-90's text does as it does.
async function encryptTheOldWay(request) {
  request.content = JSON.stringify(request.tags)
  request.tags = []
  request.tag(provider)
  request.tags.push(['encrypted'])
  await request.encrypt(provider, undefined, 'nip04')
}

async function take(received) {
  const event = received.rawEvent()
  const valid = received.verifySignature(false) === true && event.pubkey === wish.provider
  if (!valid) return heard({event, valid, content: null, hidden: null, status: null, tags: event.tags})
  const isEncrypted = event.tags.some(([name]) => name === 'encrypted')
  if (event.kind === FEEDBACK) {
    const feedback = await NDKDVMJobFeedback.from(received)
    const hidden = isEncrypted ? feedback.tags.slice(event.tags.length) : null
    const content = isEncrypted ? feedback.content : null
    return heard({event, valid, content, hidden, status: feedback.status, tags: feedback.tags})
  }
  const result = NDKDVMJobResult.from(received)
  if (isEncrypted) await result.decrypt(provider)
  await heard({event, valid, content: isEncrypted ? result.result : null, hidden: null, status: null, tags: event.tags})
}

async function ask() {
  giveUpInTime()
  await ndk.connect(5000)
  if (ndk.pool.connectedRelays().length === 0) throw new Error('no relay can be reached') // it would wait for ever
  const request = await makeRequest()
  const relays = NDKRelaySet.fromRelayUrls(wish.relays, ndk)
  const filter = {kinds: [FEEDBACK, wish.kind + 1000], '#e': [request.id]}
  await new Promise(resolve => {
    const listening = ndk.subscribe(filter, {closeOnEose: false, relaySet: relays}, false)
    let last = Promise.resolve()
    // One after the other: a feedback takes longer to read than a result, and would be printed behind it.
    listening.on('event', event => (last = last.then(() => take(event)).catch(fail)))
    listening.on('eose', resolve)
    listening.start()
  })
  const took = await request.publish(relays)
  tell(`asked ${request.id} on ${took.size}`)
}

ask().catch(fail)
