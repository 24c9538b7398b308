// The question form: how much room is left, what it would cost, and the order itself.

import { ApiError, freshKey, get, post } from "./api.js";
import { find, say } from "./dom.js";
import { sats, satsInDollars } from "./words.js";

const PAUSE_MS = 350;

export const questionText = () => find("question").value.trim();
const limit = () => Number(find("ask").dataset.limit);
const length = (text) => [...text].length; // as the server counts, in characters and not in UTF-16 units

const characters = (count) => `${count} ${count === 1 ? "character" : "characters"}`;

/** Why the question can't be asked as it stands, or "". */
export function objection() {
  const text = questionText();
  if (!text) return "Write your question first.";
  const over = length(text) - limit();
  return over > 0 ? `That is ${characters(over)} too long.` : "";
}

export function refuseQuestion(sentence) {
  say(find("ask-error"), sentence);
  find("question").setAttribute("aria-invalid", "true");
  find("question").focus();
}

export function acceptQuestion() {
  say(find("ask-error"), "");
  find("question").removeAttribute("aria-invalid");
}

export function wireQuestion() {
  const field = find("question");
  let timer = 0;
  let running = null;
  field.addEventListener("input", () => {
    acceptQuestion();
    key = null;
    const left = limit() - length(questionText());
    say(find("count"), left >= 0 ? `${characters(left)} left` : `${characters(-left)} too many`);
    find("count").classList.toggle("over", left < 0);
    clearTimeout(timer);
    running?.abort();
    timer = setTimeout(() => {
      running = new AbortController();
      showPrice(running.signal);
    }, PAUSE_MS);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("ask").requestSubmit();
  });
  field.dispatchEvent(new Event("input")); // a browser may have kept what was written before
}

async function showPrice(signal) {
  if (objection()) return say(find("price"), "");
  try {
    return say(find("price"), priceInWords(await estimate(questionText(), signal)));
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    return say(find("price"), ""); // a price that can't be told now is told with the invoice
  }
}

export const estimate = (text, signal) => get(`/api/estimate?request=${encodeURIComponent(text)}`, { signal });

export function priceInWords(price) {
  const free = price.identity?.free_tier;
  const due = free?.chargeSats ?? price.estimatedSats;
  if (due === 0) return "Free: the pool pays";
  const inDollars = satsInDollars(price.estimatedSats, price.btcPriceUsd);
  return `At most ${sats(price.estimatedSats)}${inDollars ? `, ${inDollars}` : ""}`;
}

let key = null;
let keyed = "";

/** Make the job. Asked again after a broken line, it is the same job with the same invoice. */
export async function order(address) {
  const body = { request: questionText(), pay: "once" };
  if (address) body.refundAddress = address;
  const asked = JSON.stringify(body);
  if (key === null || keyed !== asked) [key, keyed] = [freshKey(), asked]; // a key is good for one request
  try {
    const job = await post("/api/jobs", body, { "Idempotency-Key": key });
    key = null;
    return job;
  } catch (error) {
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) key = null;
    throw error;
  }
}
