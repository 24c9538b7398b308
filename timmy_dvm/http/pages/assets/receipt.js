// A receipt to keep: made in the browser, sent nowhere.

import { make } from "./dom.js";
import { refundInWords, refundsOf, sats } from "./words.js";

/** @param {{jobId: string, request?: string, claimSecret?: string, link: string, job: object}} order */
export function saveReceipt(order) {
  const url = URL.createObjectURL(new Blob([receipt(order)], { type: "text/plain;charset=utf-8" }));
  const link = make("a", { href: url, download: `timmy-${order.jobId.slice(0, 8)}.txt` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

export function receipt({ jobId, request, claimSecret, link, job }) {
  const cost = job?.costLedger;
  const parts = [
    "Timmy's receipt",
    ["Job", jobId],
    ["State", job?.state],
    ["Asked", job?.createdAt],
    ["Done", job?.completedAt],
    ["Quoted", amount(job?.pricingBreakdown?.estimatedSats)],
    ["Reading and checking", amount(cost?.evalAmountSats)],
    ["The work", amount(cost?.actualAmountSats)],
    ["Given by the pool", amount(cost?.absorbed_sats || undefined)],
    ...refundsOf(job).map((refund) => ["Back", refundInWords(refund)]),
    ["Paid to", job?.evalInvoice?.paymentHash && `payment hash ${job.evalInvoice.paymentHash}`],
    ["Page", claimSecret ? `${link} (keep it to yourself: it fetches the change)` : link],
  ];
  const head = parts
    .filter((part) => typeof part === "string" || (part[1] !== undefined && part[1] !== null && part[1] !== ""))
    .map((part) => (typeof part === "string" ? `${part}\n` : `${part[0]}: ${part[1]}`));
  const texts = [request && `\nQuestion\n\n${request}`, job?.result && `\nAnswer\n\n${job.result}`].filter(Boolean);
  return [...head, ...texts, ""].join("\n");
}

const amount = (count) => (count === undefined || count === null ? undefined : sats(count));
