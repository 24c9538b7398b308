// One job from its invoice to its change, on whatever page it is shown.

import { hideBill, showBill, wireBill } from "./bill.js";
import { showChange, wireChange } from "./change.js";
import { copy, find, lines, say, show } from "./dom.js";
import { follow, OVER } from "./job.js";
import { saveReceipt } from "./receipt.js";
import { dollars, sats, stateInWords, stepOf } from "./words.js";

const STEP_ORDER = ["pay", "check", "work", "done"];
let current = null;

/**
 * Show a job and follow it.
 * @param {{jobId: string, claimSecret?: string, request?: string, job?: object}} order
 *   `job` is what is known of it already, for instance the answer to POST /api/jobs.
 */
export function openCheckout(order) {
  current?.stop();
  current = { ...order, job: null, partial: "", stop: () => {} };
  show(find("checkout"));
  if (order.job) showJob(order.job);
  current.stop = follow(order.jobId, {
    job: showJob,
    partial: showPartial,
    trouble: (sentence) => say(find("trouble"), sentence),
  });
}

export function wireCheckout() {
  wireBill();
  wireChange(() => ({ jobId: current.jobId, claimSecret: current.claimSecret, showJob }));
  find("copy-answer").addEventListener("click", (event) => copy(find("answer-text").textContent, event.currentTarget));
  find("copy-link").addEventListener("click", (event) => copy(ownLink(), event.currentTarget));
  find("save-receipt").addEventListener("click", () => saveReceipt({ ...current, link: ownLink() }));
}

/** Where this job is found again; the claim secret stands in the fragment, which no browser ever sends. */
export function ownPath({ jobId, claimSecret }) {
  return `/pay/${encodeURIComponent(jobId)}${claimSecret ? `#claim=${encodeURIComponent(claimSecret)}` : ""}`;
}

const ownLink = () => new URL(ownPath(current), window.location.href).href;

function showJob(job) {
  const before = current.job?.state;
  current.job = job;
  find("checkout").dataset.state = job.state;
  say(find("status"), statusOf(job));
  showSteps(job.state);
  const open = openInvoice(job);
  if (open) showBill(current.jobId, open);
  else hideBill();
  showAnswer(job);
  showCost(job);
  showChange(job, Boolean(current.claimSecret));
  const over = OVER.has(job.state);
  show(find("keep"), Boolean(current.claimSecret) || over);
  show(find("keep-hint"), Boolean(current.claimSecret));
  show(find("save-receipt"), over);
  show(find("ask-again"), over);
  // Whoever pressed a button of the invoice must not be left on nothing when it goes.
  if (before && before !== job.state && document.activeElement === document.body) find("checkout-title").focus();
}

function statusOf(job) {
  const told = job.errorMessage ?? job.reason;
  const words = stateInWords(job.state);
  return told && OVER.has(job.state) ? `${words} ${told}` : words;
}

function openInvoice(job) {
  if (job.state === "awaiting_eval_payment") return job.openInvoice ?? job.evalInvoice ?? null;
  if (job.state === "awaiting_work_payment") return job.workInvoice ?? job.openInvoice ?? null;
  return null;
}

function showSteps(state) {
  const now = STEP_ORDER.indexOf(stepOf(state));
  show(document.querySelector(".steps"), now >= 0);
  for (const [index, name] of STEP_ORDER.entries()) {
    const step = document.querySelector(`[data-step="${name}"]`);
    const reached = state === "complete" || index < now;
    step.className = reached ? "past" : index === now ? "now" : "";
    if (index === now) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
}

function showPartial(text) {
  current.partial = text;
  if (current.job && OVER.has(current.job.state)) return;
  say(find("answer-text"), text);
  find("answer-text").setAttribute("aria-busy", "true"); // read out once, when it is whole
  show(find("answer"));
}

function showAnswer(job) {
  if (!OVER.has(job.state)) return;
  const text = typeof job.result === "string" ? job.result : "";
  say(find("answer-text"), text);
  find("answer-text").removeAttribute("aria-busy");
  show(find("answer"), text !== "");
  show(find("copy-answer"), text !== "");
  if (job.state === "complete" && text === "") say(find("status"), "Done. The answer went to whoever asked, over Nostr.");
}

function showCost(job) {
  const cost = job.costLedger;
  show(find("cost"), Boolean(cost));
  if (!cost) return;
  const rows = [];
  const quoted = job.pricingBreakdown?.estimatedSats;
  if (quoted !== undefined) rows.push(["Quoted, the most it could cost", sats(quoted)]);
  if (cost.evalAmountSats) rows.push(["Reading and checking", sats(cost.evalAmountSats)]);
  rows.push(["The work", sats(cost.actualAmountSats)]);
  if (cost.absorbed_sats) rows.push(["Given by the pool", sats(cost.absorbed_sats)]);
  rows.push(["Back to you", sats(cost.refundAmountSats)]);
  if (cost.totalTokens) rows.push(["The model's part of it", `${cost.totalTokens} tokens, ${dollars(Number(cost.actualCostUsd)) || "$0"}`]);
  lines(find("cost-lines"), rows);
}
