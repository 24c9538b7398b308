// Asking the server. Whatever goes wrong becomes an ApiError whose message is a sentence for a person.

const PATIENCE_MS = 20000;
const KINDLY = {
  413: "That is more than Timmy can take in one go.",
  429: "That was a lot at once. Give Timmy a moment, then try again.",
  503: "Timmy can't take this on just now. Please try again in a minute.",
};

export class ApiError extends Error {
  constructor(sentence, status, code, body) {
    super(sentence);
    this.status = status;
    this.code = code;
    this.body = body ?? {};
  }
}

export const get = (path, options = {}) => ask(path, { ...options, method: "GET" });

export const post = (path, body, headers = {}) =>
  ask(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });

/** 128 random bits: who sends the same POST twice with it gets the same answer, and pays once. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function ask(path, { signal, ...options }) {
  const response = await reach(path, { ...options, signal: signal ?? AbortSignal.timeout(PATIENCE_MS) });
  const body = await readJson(response);
  if (!response.ok) throw refusal(response, body);
  if (body === null) throw new ApiError("Timmy answered something that this page can't read.", response.status, "unreadable");
  return body;
}

export async function reach(path, options) {
  try {
    return await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("Timmy can't be reached. Is this device online? Nothing is lost; try again.", 0, "unreachable");
  }
}

export async function readJson(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

export function refusal(response, body) {
  const told = typeof body?.error === "string" && body.error ? body.error : null;
  const sentence = told ?? KINDLY[response.status] ?? "Something went wrong at Timmy's end. Please try again in a minute.";
  return new ApiError(sentence, response.status, String(body?.code ?? ""), body);
}
