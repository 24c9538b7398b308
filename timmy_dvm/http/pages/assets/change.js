// What goes back to the customer, and the form by which they fetch it.

import { ApiError, freshKey, get, post } from "./api.js";
import { find, make, say, show } from "./dom.js";
import { refundInWords, refundsOf, sats } from "./words.js";

const LNURL = /^lnurl1[a-z0-9]{20,2000}$/i;
const CODE = /^\/api\/lnurl\/withdraw\.svg\?k1=[0-9a-f]{72}$/;
let key = null;

/** Show what goes back; `mayClaim` when this page holds the claim secret. */
export function showChange(job, mayClaim) {
  const refunds = refundsOf(job);
  const waiting = refunds.filter((refund) => refund.state === "held").map((refund) => sats(refund.amountSats));
  show(find("change"), refunds.length > 0);
  find("change-lines").replaceChildren(...refunds.map((refund) => make("li", {}, refundInWords(refund))));
  show(find("claim"), mayClaim && waiting.length > 0);
  // Each amount is claimed by itself, with an invoice for exactly its sum.
  const sum = waiting.length > 1 ? `exactly one of these: ${waiting.join(", ")},` : `exactly ${waiting[0] ?? ""}`;
  say(find("claim-hint"), `Make an invoice for ${sum} in your wallet and paste it here.`);
  if (waiting.length > 0 && !mayClaim) {
    find("change-lines").append(make("li", {}, "It is fetched with the link that was given when the job was made."));
  }
}

/** @param {() => {jobId: string, claimSecret: string, showJob: (job: object) => void}} order who claims what, when asked */
export function wireChange(order) {
  const target = find("claim-target");
  target.addEventListener("input", () => {
    key = null; // another invoice is another claim
    say(find("claim-error"), "");
  });
  find("claim").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = target.value.trim().replace(/^lightning:/i, "");
    if (!text) return refuse("Paste an invoice from your wallet first.");
    const button = event.currentTarget.querySelector("button");
    button.disabled = true;
    try {
      await claim(order(), text);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refuse(error.message);
    } finally {
      button.disabled = false;
    }
    return undefined;
  });
  find("withdraw").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await offerWithdrawal(order());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(find("claim-error"), error.message);
    } finally {
      button.disabled = false;
    }
  });
}

/** A link that a wallet on this device opens and withdraws by, and a code for one on a phone (LUD-03). */
async function offerWithdrawal({ jobId, claimSecret }) {
  const offer = await post(`/api/jobs/${encodeURIComponent(jobId)}/withdrawal`, { claimSecret });
  if (!LNURL.test(offer.lnurl)) throw new ApiError("Timmy gave no usable LNURL; paste an invoice instead.", 200, "unreadable");
  const code = find("withdraw-code");
  show(code, CODE.test(offer.qr));
  if (CODE.test(offer.qr)) {
    code.src = offer.qr;
    code.alt = `QR code for fetching ${sats(offer.amountSats)} of change`;
  }
  find("withdraw-link").href = `lightning:${offer.lnurl}`;
  say(find("withdraw-link"), `Open in wallet: ${sats(offer.amountSats)}`);
  show(find("withdraw-ready"));
  find("withdraw-link").focus();
}

function refuse(sentence) {
  say(find("claim-error"), sentence);
  find("claim-target").setAttribute("aria-invalid", "true");
  find("claim-target").focus();
}

/** After a broken line the same claim has the same answer; what was refused may go well the next time. */
async function refund(path, body) {
  key ??= freshKey();
  try {
    return await post(`${path}/refund`, body, { "Idempotency-Key": key });
  } catch (error) {
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) key = null;
    throw error;
  }
}

async function claim({ jobId, claimSecret, showJob }, text) {
  const path = `/api/jobs/${encodeURIComponent(jobId)}`;
  const answer = await refund(path, { invoice: text, claimSecret });
  find("claim-target").removeAttribute("aria-invalid");
  say(find("claim-error"), "");
  say(find("claim-done"), answer.refundState === "paid" ? "Your change was sent." : "Your change is on its way.");
  find("claim-target").value = "";
  showJob(await get(path));
}
