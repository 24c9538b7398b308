// The page that asks: question, price, invoice, answer.

import { ApiError } from "./api.js";
import { openCheckout, ownPath, wireCheckout } from "./checkout.js";
import { find, show } from "./dom.js";
import { acceptQuestion, objection, order, questionText, refuseQuestion, wireQuestion } from "./question.js";

wireQuestion();
wireCheckout();

find("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const why = objection();
  if (why) return refuseQuestion(why);
  const button = event.currentTarget.querySelector("button");
  button.disabled = true;
  try {
    const job = await order(find("address").value.trim());
    acceptQuestion();
    const request = questionText();
    // From here on a reload, a bookmark or the way back leads to this job and its change.
    history.pushState(null, "", ownPath(job));
    show(find("ask"), false);
    openCheckout({ jobId: job.jobId, claimSecret: job.claimSecret, request, job });
    find("checkout-title").textContent = request;
    find("checkout-title").focus();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    refuseQuestion(error.message);
  } finally {
    button.disabled = false;
  }
  return undefined;
});

window.addEventListener("popstate", () => window.location.reload());
