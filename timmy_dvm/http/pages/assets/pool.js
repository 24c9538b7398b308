// The pool's books, drawn.

import { ApiError, get } from "./api.js";
import { find, lines, make, say, show } from "./dom.js";
import { courseOf, drawCourse } from "./chart.js";
import { grouped, sats } from "./words.js";

const SHOWN_GRANTS = 12;
const inShort = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

try {
  showBooks(await get("/api/pool"));
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  say(find("pool-trouble"), error.message);
}

function showBooks(books) {
  lines(find("figures"), [
    ["In the pool now", sats(books.balanceSats)],
    ["Set aside for open jobs", sats(books.reservedSats)],
    ["Came in", sats(books.inSats)],
    ["Given away", sats(books.outSats)],
  ]);
  const course = courseOf(Number(books.balanceSats), books.entries ?? []);
  find("chart").replaceChildren(drawCourse(course));
  say(find("chart-words"), inWords(course));
  fill("today-table", ["Trust", "Given today", "Set aside", "Jobs", "Budget a day"], (books.today ?? []).map((row) => [
    row.tier, sats(row.grantedSats), sats(row.reservedSats), row.jobs, sats(books.dailyBudgets?.[row.tier] ?? 0),
  ]), "Nobody has been given anything today.");
  fill("grants-table", ["When", "Trust", "Given"], (books.grants ?? []).slice(0, SHOWN_GRANTS).map((grant) => [
    inShort(grant.at), grant.tier, sats(grant.grantedSats),
  ]), "No free answer yet.");
  fill("donors-table", ["When", "Key", "Gave"], (books.donors ?? []).slice(0, SHOWN_GRANTS).map((donor) => [
    inShort(donor.at), `${donor.npub.slice(0, 12)}…${donor.npub.slice(-6)}`, sats(donor.amountSats),
  ]), "No donor asked to be named.");
  show(find("books"));
}

function inWords(course) {
  if (course.length < 2) return "Nothing has moved yet.";
  const heights = course.map((point) => point.sats);
  const moves = course.length === 2 ? "The one movement" : `The last ${course.length - 1} movements`;
  return `${moves}: from ${grouped(heights[0])} to ${sats(heights.at(-1))}, lowest ${grouped(Math.min(...heights))}, highest ${grouped(Math.max(...heights))}.`;
}

function fill(id, heads, rows, none) {
  if (rows.length === 0) return find(id).replaceChildren(make("p", { class: "hint" }, none));
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((row) => make("tr", {}, ...row.map((text) => make("td", {}, text ?? ""))));
  return find(id).replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}
