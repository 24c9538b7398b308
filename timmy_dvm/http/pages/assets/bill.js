// One open invoice: the code, the ways to pay it, and how long it can still be paid.

import { ApiError, post } from "./api.js";
import { copy, find, say, show } from "./dom.js";
import { clock, grouped } from "./words.js";

const INVOICE = /^ln[a-z0-9]{20,4000}$/i;
const playsWithMoney = () => document.body.dataset.playMoney === "yes";

let shown = null;
let ticking = 0;

/** Show the invoice object of the API, or nothing when it is null. */
export function showBill(jobId, invoice) {
  if (!invoice || !INVOICE.test(invoice.paymentRequest)) return hideBill();
  if (shown?.paymentHash === invoice.paymentHash) return undefined;
  shown = invoice;
  find("code").src = `/pay/${encodeURIComponent(jobId)}.svg?${encodeURIComponent(invoice.paymentHash.slice(0, 8))}`;
  find("code").alt = `QR code of an invoice for ${grouped(invoice.amountSats)} sats`;
  say(find("amount"), grouped(invoice.amountSats));
  find("invoice").value = invoice.paymentRequest;
  find("open-wallet").href = `lightning:${invoice.paymentRequest}`;
  show(find("play-money"), playsWithMoney());
  offerBrowserWallet();
  clearInterval(ticking);
  ticking = setInterval(tick, 1000);
  tick();
  return show(find("bill"));
}

export function hideBill() {
  shown = null;
  clearInterval(ticking);
  show(find("bill"), false);
}

export function wireBill() {
  find("copy-invoice").addEventListener("click", (event) => copy(find("invoice").value, event.currentTarget));
  find("invoice").addEventListener("focus", (event) => event.currentTarget.select());
  find("browser-wallet").addEventListener("click", (event) => paying(event.currentTarget, payByBrowserWallet));
  find("play-money").addEventListener("click", (event) => paying(event.currentTarget, payByPlayMoney));
  // Some wallets are there only after the page is.
  window.addEventListener("webln:ready", offerBrowserWallet);
}

function offerBrowserWallet() {
  show(find("browser-wallet"), typeof window.webln?.sendPayment === "function");
}

function tick() {
  const left = (Date.parse(shown?.expiresAt ?? "") - Date.now()) / 1000;
  if (Number.isNaN(left)) return say(find("countdown"), "");
  return say(find("countdown"), left > 0 ? `Can be paid for ${clock(left)}` : "This invoice has run out.");
}

async function paying(button, pay) {
  button.disabled = true;
  say(find("trouble"), "");
  try {
    await pay(shown);
  } catch (error) {
    say(find("trouble"), error instanceof ApiError ? error.message : "The wallet did not pay. Nothing was taken; try again, or scan the code.");
  } finally {
    button.disabled = false;
  }
}

async function payByBrowserWallet(invoice) {
  await window.webln.enable();
  await window.webln.sendPayment(invoice.paymentRequest);
}

const payByPlayMoney = (invoice) => post(`/api/dev/stub/pay/${encodeURIComponent(invoice.paymentHash)}`, {});
