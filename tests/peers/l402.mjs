// A customer of L402 on a library of others: asks the same question again and again, and pays whatever it is asked to.
//
//   node l402.mjs '{"library": "alby" | "l402", "url": "http://…", "pay": "http://…", "text": "…", "most": 40}'
// It ends once it has paid twice, and was served after that; or after so many questions.
//
// `pay` takes {"invoice": "…"} and answers {"preimage": "…"}: the wallet. stdout: one JSON line per answer,
// with its `status`, its `body` and how many invoices were `paid` until then. Exit: 0 all were
// answered, 1 it cannot go on.
import {createRequire} from 'node:module'
import {webcrypto} from 'node:crypto'

globalThis.crypto ??= webcrypto // node 18 has it, but not as a global

const require = createRequire(import.meta.url)
const wish = JSON.parse(process.argv[2])
const body = JSON.stringify({request: wish.text})
const headers = {'content-type': 'application/json'}
let paid = 0

async function payInvoice(invoice) {
  const answer = await fetch(wish.pay, {method: 'POST', headers, body: JSON.stringify({invoice})})
  if (!answer.ok) throw new Error(`paying was answered ${answer.status}`)
  paid += 1
  return (await answer.json()).preimage
}

// Its helper never pays again once it is handed a credential: out of credit, it is asked anew on the same session.
async function withAlby() {
  const {fetchWithL402} = await import('@getalby/lightning-tools/402')
  const wallet = {payInvoice: async ({invoice}) => ({preimage: await payInvoice(invoice)})}
  let credentials
  const ask = (more, known = {}) => fetchWithL402(wish.url, {method: 'POST', headers: {...headers, ...known}, body}, {wallet, ...more})
  return async () => {
    let answer = await ask(credentials ? {credentials} : {})
    if (answer.status === 402) answer = await ask({}, {[credentials.header]: credentials.value})
    credentials = answer.payment?.credentials ?? credentials
    return {status: answer.status, body: await answer.json()}
  }
}

async function withInterceptor() {
  const axios = require('axios')
  const {setupL402Interceptor, MemoryTokenStore} = require('l402')
  const instance = axios.create({headers, validateStatus: status => status < 400})
  const wallet = {payInvoice: async invoice => ({success: true, preimage: await payInvoice(invoice)})}
  setupL402Interceptor(instance, wallet, new MemoryTokenStore())
  return async () => {
    const answer = await instance.post(wish.url, body)
    return {status: answer.status, body: answer.data}
  }
}

try {
  const ask = await (wish.library === 'alby' ? withAlby() : withInterceptor())
  for (let n = 0; n < wish.most && paid < 2; n += 1) console.log(JSON.stringify({...(await ask()), paid}))
} catch (error) {
  console.error(`cannot go on: ${error?.stack ?? error}`)
  process.exit(1)
}
