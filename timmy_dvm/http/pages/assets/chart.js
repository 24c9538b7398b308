// A line of the pool's balance, as SVG.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640;
const HEIGHT = 160;
const EDGE = 8;

/** The balance before and after each movement, oldest first, in sats; reckoned back from what is there now. */
export function courseOf(balanceSats, entries) {
  const moves = entries.map((entry) => ({ at: entry.at, sats: Number(entry.amountMsat) / 1000 }))
    .filter((move) => Number.isFinite(move.sats))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  let level = (Number.isFinite(balanceSats) ? balanceSats : 0) - moves.reduce((sum, move) => sum + move.sats, 0);
  const course = [{ at: moves[0]?.at, sats: level }];
  for (const move of moves) {
    level += move.sats;
    course.push({ at: move.at, sats: level });
  }
  return course;
}

export function drawCourse(course) {
  const points = course.length === 1 ? [course[0], course[0]] : course;
  const top = Math.max(1, ...points.map((point) => point.sats)) * 1.1;
  const x = (index) => EDGE + (index * (WIDTH - 2 * EDGE)) / (points.length - 1);
  const y = (level) => HEIGHT - EDGE - (Math.max(0, level) * (HEIGHT - 2 * EDGE)) / top;
  // Steps, for the balance stands still between two movements.
  const line = points.map((point, index) => (index === 0 ? `M${x(0)} ${y(point.sats)}` : `H${x(index)} V${y(point.sats)}`)).join(" ");
  const last = points.length - 1;
  return element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "The pool's balance over its latest movements", "aria-describedby": "chart-words" }, [
    element("path", { class: "chart-ground", d: `M${EDGE} ${HEIGHT - EDGE}H${WIDTH - EDGE}` }),
    element("path", { class: "chart-area", d: `${line} V${HEIGHT - EDGE} H${EDGE} Z` }),
    element("path", { class: "chart-line", d: line }),
    element("circle", { class: "chart-now", cx: x(last), cy: y(points[last].sats), r: 5 }),
  ]);
}

function element(name, attributes, children = []) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}
