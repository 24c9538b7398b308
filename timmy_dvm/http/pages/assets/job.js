// Following one job until it ends: by server-sent events, and by asking every so often where those don't come through.

import { ApiError, get } from "./api.js";
import { refundsOf } from "./words.js";

export const OVER = new Set(["complete", "failed", "rejected", "expired", "cancelled"]);
const ON_ITS_WAY = new Set(["owed", "sending", "in_doubt"]);
const FAULTS_BEFORE_ASKING = 3;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15000;

/**
 * @param {string} jobId
 * @param {{job: (job: object) => void, partial: (text: string) => void, trouble: (sentence: string) => void}} hear
 *   `trouble` gets an empty sentence when all is well again.
 * @returns {() => void} stops following
 */
export function follow(jobId, hear) {
  const path = `/api/jobs/${encodeURIComponent(jobId)}`;
  const stopped = new AbortController();
  let source = null;
  let timer = 0;
  let faults = 0;
  let wait = FIRST_WAIT_MS;
  let asking = false;

  const stop = () => {
    stopped.abort();
    source?.close();
    clearTimeout(timer);
  };

  const heard = (job) => {
    if (stopped.signal.aborted) return;
    faults = 0;
    wait = FIRST_WAIT_MS;
    hear.trouble("");
    if (isSettled(job)) stop();
    hear.job(job);
  };

  const look = async () => {
    try {
      heard(await get(path));
    } catch (error) {
      if (stopped.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      hear.trouble(error.message);
      if (error.status === 404 || error.status === 403) stop();
    }
  };

  const askOn = async () => {
    await look();
    if (stopped.signal.aborted) return;
    timer = setTimeout(askOn, wait);
    wait = Math.min(wait * 1.5, LONGEST_WAIT_MS);
  };

  const askInstead = () => {
    if (asking || stopped.signal.aborted) return;
    asking = true;
    source?.close();
    askOn();
  };

  const listen = () => {
    if (typeof EventSource === "undefined") return askInstead();
    source = new EventSource(`${path}/events`);
    source.addEventListener("job", (event) => {
      const job = parsed(event.data);
      if (job) heard(job);
    });
    source.addEventListener("partial", (event) => {
      const told = parsed(event.data);
      if (typeof told?.text === "string" && !stopped.signal.aborted) hear.partial(told.text);
    });
    source.addEventListener("error", () => {
      faults += 1;
      // The browser tries again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED || faults >= FAULTS_BEFORE_ASKING) askInstead();
    });
  };

  // A phone freezes the page while its owner is in the wallet; what happened meanwhile is asked for on return.
  document.addEventListener("visibilitychange", () => !document.hidden && look(), { signal: stopped.signal });
  listen();
  return stop;
}

/** Whether nothing more will happen by itself: the job is over and no change is on its way. */
const isSettled = (job) => OVER.has(job.state) && !refundsOf(job).some((refund) => ON_ITS_WAY.has(refund.state));

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
