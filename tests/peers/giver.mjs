// A giver on a library of others: finds a Lightning address by its name, and asks there for an invoice.
//
//   node giver.mjs '{"library": "alby" | "nostr-tools", "address": "pool@…", "base": "http://…", "how": "pay" | "zap",
//                    "sats": 21, "comment": "…", "relays": ["wss://…"], "secret": "<hex>"}'
//
// `base` is where the address's domain really is. stdout: one JSON object: the `invoice`, what the name is a `pubkey`
// of; of a zap the `request` as it was sent and, of nostr-tools, the `receipt` that it would make of it.
// Exit: 0 there is an invoice, 1 it cannot go on.
import {webcrypto} from 'node:crypto'

globalThis.crypto ??= webcrypto // node 18 has it, but not as a global

const wish = JSON.parse(process.argv[2])
const domain = `https://${wish.address.split('@')[1]}`
const secret = Uint8Array.from(Buffer.from(wish.secret, 'hex'))
const direct = globalThis.fetch
const there = url => direct(String(url).replace(domain, wish.base))
globalThis.fetch = there
let request = null

async function withAlby() {
  const {LightningAddress} = await import('@getalby/lightning-tools/lnurl')
  const {finalizeEvent, getPublicKey} = await import('nostr-tools/pure')
  const address = new LightningAddress(wish.address, {proxy: false})
  await address.fetch()
  const nostr = {
    getPublicKey: async () => getPublicKey(secret),
    signEvent: async event => (request = JSON.stringify(finalizeEvent(event, secret)), JSON.parse(request)),
  }
  const invoice = wish.how === 'zap'
    ? await address.zapInvoice({satoshi: wish.sats, comment: wish.comment, relays: wish.relays}, {nostr})
    : await address.requestInvoice({satoshi: wish.sats, comment: wish.comment})
  return {invoice: invoice.paymentRequest, pubkey: address.nostrPubkey, request}
}

async function withNostrTools() {
  const {getZapEndpoint, makeZapReceipt, makeZapRequest, useFetchImplementation, validateZapRequest} = await import('nostr-tools/nip57')
  const {queryProfile, useFetchImplementation: ofNames} = await import('nostr-tools/nip05')
  const {finalizeEvent} = await import('nostr-tools/pure')
  useFetchImplementation(there)
  ofNames(there)
  const {pubkey} = await queryProfile(wish.address)
  const endpoint = await getZapEndpoint({content: JSON.stringify({lud16: wish.address})})
  if (!endpoint) throw new Error('the address takes no zaps')
  const amount = wish.sats * 1000
  const zap = makeZapRequest({pubkey, amount, comment: wish.comment, relays: wish.relays})
  request = JSON.stringify(finalizeEvent(zap, secret))
  if (validateZapRequest(request)) throw new Error(validateZapRequest(request))
  const query = new URLSearchParams({amount: String(amount), nostr: request})
  const answer = await (await there(`${endpoint}?${query}`)).json()
  if (!answer.pr) throw new Error(answer.reason)
  const receipt = makeZapReceipt({zapRequest: request, bolt11: answer.pr, paidAt: new Date(1.7e12)})
  return {invoice: answer.pr, pubkey, request, receipt}
}

console.log(JSON.stringify(await (wish.library === 'alby' ? withAlby() : withNostrTools())))
