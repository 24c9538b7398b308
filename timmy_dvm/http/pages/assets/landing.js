// The front door: a free taste, what the whole answer would cost, and the way to it.

import { ApiError, reach, readJson, refusal } from "./api.js";
import { openCheckout, ownPath, wireCheckout } from "./checkout.js";
import { find, say, show, wireCopyButtons } from "./dom.js";
import { letItRain } from "./rain.js";
import { acceptQuestion, estimate, objection, order, priceInWords, questionText, refuseQuestion, wireQuestion } from "./question.js";

const PATIENCE_MS = 60000;

wireQuestion();
wireCheckout();
wireCopyButtons();
letItRain(find("rain"));

find("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const why = objection();
  if (why) return refuseQuestion(why);
  acceptQuestion();
  const button = event.currentTarget.querySelector("button");
  button.disabled = true;
  show(find("taste"));
  show(find("buy"), false);
  find("taste-title").focus();
  try {
    await taste(questionText());
  } finally {
    button.disabled = false;
  }
  return undefined;
});

find("buy").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.currentTarget.querySelector("button");
  button.disabled = true;
  say(find("buy-error"), objection());
  try {
    if (objection()) return;
    const job = await order(find("address").value.trim());
    const request = questionText();
    history.pushState(null, "", ownPath(job));
    show(find("ask"), false);
    show(find("taste"), false);
    openCheckout({ jobId: job.jobId, claimSecret: job.claimSecret, request, job });
    find("checkout-title").textContent = request;
    find("checkout-title").focus();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(find("buy-error"), error.message);
  } finally {
    button.disabled = false;
  }
});

window.addEventListener("popstate", () => window.location.reload());

async function taste(text) {
  say(find("taste-status"), "Timmy is thinking.");
  show(find("taste-text"), false);
  try {
    await freeAnswer(text, showTaste);
    say(find("taste-status"), "");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(find("taste-status"), error.message);
  }
  await offer(text);
}

function showTaste(text) {
  say(find("taste-text"), text);
  show(find("taste-text"));
}

/** The free answer: as it is written where the server streams it, else in one piece. */
async function freeAnswer(text, hear) {
  const response = await reach(`/api/demo?request=${encodeURIComponent(text)}`, {
    headers: { Accept: "text/event-stream, application/json;q=0.9" },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (response.ok && response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    await readStream(response, hear);
    return;
  }
  const body = await readJson(response);
  if (!response.ok) throw refusal(response, body);
  hear(String(body?.result ?? ""));
}

async function readStream(response, hear) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    const events = (rest + chunk.value).split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (data) hearEvent(data, hear);
    }
  }
}

function hearEvent(data, hear) {
  let told;
  try {
    told = JSON.parse(data);
  } catch {
    return; // a line that is no JSON tells nothing
  }
  if (typeof told.error === "string") throw new ApiError(told.error, 200, String(told.code ?? ""), told);
  const text = told.result ?? told.text;
  if (typeof text === "string") hear(text);
}

async function offer(text) {
  try {
    const price = await estimate(text);
    say(find("buy-price"), `${priceInWords(price)}. You see the invoice first, and what it does not cost comes back.`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(find("buy-price"), "You see the price on the invoice, before you pay.");
  }
  show(find("buy"));
}
