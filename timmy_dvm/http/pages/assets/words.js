// Numbers and states in words.

const STATES = {
  awaiting_eval_payment: "Pay the invoice and Timmy begins.",
  awaiting_work_payment: "Timmy can do this. One more invoice, for the work itself.",
  evaluating: "Paid. Timmy reads the question and checks that he can do it.",
  executing: "Timmy is at work.",
  complete: "Here is the answer.",
  rejected: "Timmy won't do this one. What was paid for the work goes back.",
  failed: "It did not work out. All of the work fee goes back.",
  expired: "The invoice ran out before it was paid, so nothing was taken. A late payment is returned.",
  cancelled: "This job was cancelled. What was paid goes back.",
};

const WAYS_BACK = {
  owed: "on the way back",
  sending: "being sent",
  in_doubt: "sent, and not confirmed yet",
  sent: "sent back",
  credited: "put to your credit",
  held: "waiting for you to fetch it",
};

const WHY_BACK = {
  change: "change",
  rejected: "from a refused job",
  failed: "from a failed job",
  late: "from a late payment",
  excess: "paid too much",
};

const STEPS = {
  awaiting_eval_payment: "pay",
  awaiting_work_payment: "pay",
  evaluating: "check",
  executing: "work",
  complete: "done",
};

export const stateInWords = (state) => STATES[state] ?? `The job is ${String(state)}.`;
export const stepOf = (state) => STEPS[state] ?? "";
export const sats = (count) => `${grouped(count)} ${count === 1 ? "sat" : "sats"}`;
export const grouped = (count) => Number(count).toLocaleString("en", { maximumFractionDigits: 0 });

export function dollars(count) {
  if (!(count > 0)) return "";
  if (count < 0.01) return "less than 1 cent";
  return `about $${count.toFixed(2)}`;
}

/** What so many sats are in dollars, at a bitcoin's price in dollars. */
export const satsInDollars = (count, bitcoin) => dollars((Number(count) * Number(bitcoin)) / 1e8);

/** The amounts that go back, each with its state; none where nothing does or nothing may be told. */
export function refundsOf(job) {
  const rows = job?.refund?.refunds ?? job?.refunds ?? job?.costLedger?.refunds;
  return Array.isArray(rows) ? rows : [];
}

export function refundInWords(refund) {
  const way = WAYS_BACK[refund.state] ?? String(refund.state);
  const why = WHY_BACK[refund.reason];
  return `${sats(refund.amountSats)}${why ? ` (${why})` : ""}: ${way}.`;
}

/** Seconds as a person counts them: 9:05. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
