// The picture's pieces: each function returns SVG made of plain shapes. No text of a stranger comes in here.

const NS = "http://www.w3.org/2000/svg";

/** One SVG element with its attributes and children. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const path = (d, cls, more = {}) => s("path", { d, class: cls, ...more });
const disc = (cx, cy, r, cls, more = {}) => s("circle", { cx, cy, r, class: cls, ...more });
const box = (x, y, width, height, cls, more = {}) => s("rect", { x, y, width, height, class: cls, ...more });
const group = (attributes, ...children) => s("g", attributes, ...children);
const stop = (offset, cls, more = {}) => s("stop", { offset, class: cls, ...more });

export function definitions() {
  return s("defs", {},
    s("linearGradient", { id: "wall", x2: 0, y2: 1 }, stop(0, "s-wall-b"), stop(0.75, "s-wall-a")),
    s("linearGradient", { id: "floor", x2: 0, y2: 1 }, stop(0, "s-floor-a"), stop(1, "s-floor-b")),
    s("linearGradient", { id: "sky", x2: 0, y2: 1 }, stop(0, "s-sky-a"), stop(1, "s-sky-b")),
    s("radialGradient", { id: "glow" }, stop(0, "s-glow"), stop(0.35, "s-glow", { "stop-opacity": 0.45 }), stop(1, "s-glow-0")),
    s("linearGradient", { id: "tail", x1: 1, x2: 0 }, stop(0, "s-glow"), stop(1, "s-glow-0")),
    s("clipPath", { id: "pane" }, s("circle", { r: 88 })),
  );
}

/** Wall, floor and beams of a room that is w by h, with the floor from `floor` down. */
export function room(w, h, floor) {
  const it = group({}, box(0, 0, w, floor, "f-wall"));
  for (let x = 0; x <= w; x += 80) it.append(path(`M${x} ${floor - 120}V${floor}`, "l-panel"));
  it.append(path(`M0 ${floor - 120}H${w}M0 ${floor - 12}H${w}`, "l-panel"), box(0, floor, w, h - floor, "f-floor"));
  for (let i = -8; i <= 8; i++) it.append(path(`M${w / 2 + i * 62} ${floor}L${w / 2 + i * 190} ${h}`, "l-plank"));
  for (const y of [0.18, 0.46, 0.8]) it.append(path(`M0 ${floor + (h - floor) * y}H${w}`, "l-plank"));
  it.append(box(0, 0, w, 22, "f-beam"), path(`M0 118L130 20M${w} 118L${w - 130} 20`, "l-beam", { "stroke-width": 17 }));
  return it;
}

/** The round window: moon and stars by night, sun and hills by day. Finished jobs leave through it. */
export function window_(x, y) {
  const stars = [[-52, -38], [-22, -62], [10, -30], [46, -52], [62, -12], [-66, 0], [-34, -8], [28, 2], [0, -74], [-8, 12]];
  return group({ transform: `translate(${x} ${y})` },
    disc(0, 0, 104, "f-wood-dark"), disc(0, 0, 97, "f-wood"), disc(0, 0, 88, "f-sky"),
    group({ "clip-path": "url(#pane)" },
      ...stars.map(([sx, sy], i) => disc(sx, sy, i % 3 ? 1.5 : 2.3, "star")),
      disc(38, -26, 40, "orb-glow"), disc(38, -26, 19, "f-orb"),
      path("M-100 46Q-50 12 0 42T100 30V100H-100Z", "f-hill-a"), path("M-100 66Q-30 38 20 62T100 56V100H-100Z", "f-hill-b")),
    path("M-88 0H88M0-88V88", "l-beam", { "stroke-width": 7 }), disc(0, 0, 9, "f-brass"));
}

/** A board with books, bottles and a cat of brass: no two are alike. */
export function shelf(x, y, width, seed) {
  const it = group({ transform: `translate(${x} ${y})` });
  const colours = ["#7d3b34", "#3f5f6b", "#6b5a2f", "#4d3f6e", "#39604a", "#8a5a2e"];
  for (let at = 6, i = seed; at < width - 26; i++) {
    const kind = (i * 7 + seed) % 5, tall = 34 + ((i * 13) % 22);
    if (kind === 3) {
      it.append(box(at + 6, -38, 8, 14, "f-light"), path(`M${at} 0q-4-26 10-26t10 26z`, "", { fill: colours[i % 6], opacity: 0.85 }));
      at += 28;
    } else {
      it.append(box(at, -tall, 13, tall, "", { fill: colours[i % 6], rx: 1.5 }), box(at, -tall + 7, 13, 3, "f-light"));
      at += kind === 4 ? 26 : 15;
    }
  }
  it.append(box(0, 0, width, 9, "f-wood"), box(0, 7, width, 4, "f-shade"), path(`M14 9v14l14-14M${width - 14} 9v14l-14-14`, "f-wood-dark"));
  return it;
}

/** A lamp on its cord; it shines brighter over who works. */
export function lamp(x, y) {
  return group({ transform: `translate(${x} ${y})` },
    disc(0, 12, 190, "lamp-glow"), path("M0-900V-22", "l-beam", { "stroke-width": 3 }),
    path("M-27 4Q-24-22 0-24T27 4Z", "f-brass"), path("M-27 4Q-24-22-2-24Q-16-14-17 4Z", "f-light"), s("ellipse", { cx: 0, cy: 5, rx: 15, ry: 6.5, class: "flame" }));
}

/** A bench with its top at y = -62. */
export function bench(extra) {
  return group({},
    s("ellipse", { cx: 0, cy: 3, rx: 112, ry: 13, class: "f-shade" }),
    box(-92, -50, 15, 50, "f-wood-dark"), box(77, -50, 15, 50, "f-wood-dark"), box(-84, -50, 168, 28, "f-wood"),
    box(-84, -50, 168, 7, "f-shade"), box(-104, -62, 208, 13, "f-wood-light", { rx: 4 }), box(-104, -53, 208, 4, "f-shade"), extra);
}

const eyes = (y = -128) => group({}, disc(-8.500, y, 2.700, "f-outline"), disc(8.500, y, 2.700, "f-outline"), path(`M-6 ${y + 11}q6 5 12 0`, "l-ink", { "stroke-width": 2 }));
const robe = (colour) => group({}, path("M-50 0C-54-56-38-100 0-102C38-100 54-56 50 0Z", "", { fill: colour }), path("M6-101C38-98 54-56 50 0H14C24-40 22-80 6-101Z", "f-shade"), path("M-8-101L0-84L8-101Z", "f-light"));
const arms = (colour, skin) => group({}, ...[["left", -1], ["right", 1]].map(([side, k]) =>
  group({ class: `arm ${side}` }, path(`M${k * 38}-80Q${k * 62}-52 ${k * 42}-20L${k * 26}-24Q${k * 38}-50 ${k * 24}-72Z`, "", { fill: colour }), disc(k * 34, -20, 9, "", { fill: skin }))));
const sparks = (x, y) => group({ transform: `translate(${x} ${y})` }, ...[-18, -7, 5, 16, 24].map((dx) => {
  const spark = disc(dx, 0, 2.600, "spark");
  spark.style.setProperty("--dx", `${dx / 1.6}px`);
  return spark;
}));
// The place on the outside: an animation of `transform` puts the attribute aside.
const figure = (...parts) => group({ transform: "translate(0 -34)" }, group({ class: "figure" }, ...parts));
const head = (skin, ...more) => group({ class: "head" }, disc(0, -126, 25, "", { fill: skin }), eyes(), ...more);

const PEOPLE = {
  alpha: () => [
    figure(robe("#2f7f79"), path("M-27-104Q0-88 27-104L24-92Q0-78-24-92Z", "", { fill: "#c8553d" }),
      head("var(--skin)", path("M-27-134Q-22-162 4-160Q27-158 27-135Q0-144-27-134Z", "", { fill: "#24524f" }), path("M-30-132Q-8-142 12-138L8-131Q-10-134-30-128Z", "", { fill: "#1b3f3d" })), arms("#2f7f79", "var(--skin)")),
    bench(group({}, box(-86, -80, 46, 18, "", { fill: "#f3e4c4", rx: 2 }), path("M-86-80l23 11l23-11", "l-ink", { "stroke-width": 1.5 }), box(-80, -87, 40, 8, "", { fill: "#e2cfa4", rx: 2 }),
      path("M58-62q0-19 16-19t16 19z", "f-brass"), disc(74, -83, 4, "f-brass-dark"), box(54, -65, 40, 4, "f-brass-dark"), sparks(74, -84))),
  ],
  beta: () => [
    figure(robe("#b9812c"), head("var(--skin-b)", path("M-24-141Q0-168 24-141L22-133Q0-142-22-133Z", "", { fill: "#3b2a1c" }), path("M-27-137Q0-148 27-137L33-128Q0-137-33-128Z", "", { fill: "#4fa36c", opacity: 0.92 })), arms("#b9812c", "var(--skin-b)")),
    bench(group({}, ...[0, 1, 2, 3].map((i) => s("ellipse", { cx: -70, cy: -66 - i * 6, rx: 15, ry: 5, class: i % 2 ? "f-brass-dark" : "f-brass" })), ...[0, 1].map((i) => s("ellipse", { cx: -40, cy: -66 - i * 6, rx: 13, ry: 4.500, class: i % 2 ? "f-brass-dark" : "f-brass" })),
      box(44, -104, 48, 42, "f-brass-dark", { rx: 4 }), box(49, -99, 38, 14, "", { fill: "#2b3a2f", rx: 2 }), path("M70-98l-8 8h6l-4 7l10-9h-6z", "", { fill: "#ffe08a" }), ...[0, 1, 2].map((i) => disc(56 + i * 12, -76, 3.500, "f-light")), sparks(-60, -88))),
  ],
  gamma: () => [
    figure(robe("#6b4fa3"), head("var(--skin-c)", path("M-27-128Q-40-150-20-152Q-22-168-4-160Q8-174 16-158Q34-162 28-144Q36-134 27-126Q20-146 0-145Q-20-146-27-128Z", "", { fill: "#d7d2e6" }),
      disc(-10, -141, 9, "f-brass"), disc(10, -141, 9, "f-brass"), disc(-10, -141, 5.500, "", { fill: "#93d6e0" }), disc(10, -141, 5.500, "", { fill: "#93d6e0" })), arms("#6b4fa3", "var(--skin-c)")),
    bench(group({}, path("M60-112h20v16l18 28q3 6-4 6H46q-7 0-4-6l18-28z", "f-light"), path("M52-84h36l10 16q3 6-4 6H46q-7 0-4-6z", "brew"), disc(64, -73, 3, "f-light"), disc(76, -79, 2.200, "f-light"),
      disc(-66, -78, 15, "f-brass-dark"), disc(-66, -78, 6, "f-wood-light"), ...[0, 45, 90, 135].map((a) => box(-69, -98, 6, 40, "f-brass-dark", { transform: `rotate(${a} -66 -78)`, rx: 1 })), disc(-66, -78, 11, "f-brass"), disc(-66, -78, 4, "f-outline"), sparks(70, -114))),
  ],
  delta: () => [
    figure(robe("#4c7a3f"), head("var(--skin)", path("M-25-130Q-28-154 0-154T25-130Q14-146 0-146T-25-130Z", "", { fill: "#5b3a24" }), disc(0, -158, 10, "", { fill: "#5b3a24" }),
      disc(-9, -128, 8, "l-brass", { "stroke-width": 2.500 }), disc(9, -128, 8, "l-brass", { "stroke-width": 2.500 }), path("M-1-128h2", "l-brass", { "stroke-width": 2.500 })), arms("#4c7a3f", "var(--skin)")),
    bench(group({}, path("M-46-66Q-24-78 0-68Q24-78 46-66V-60H-46Z", "", { fill: "#f6ead0" }), path("M0-68v8M-36-68q16-5 28 0M8-68q14-5 28 0", "l-ink", { "stroke-width": 1.300, opacity: 0.6 }), path("M40-66Q62-100 70-104Q66-86 44-64Z", "", { fill: "#eef3fa" }),
      path("M-76-62v-44M-96-100h40M-96-100l-7 22h14zM-56-100l-7 22h14z", "l-brass", { "stroke-width": 2.500 }), sparks(44, -76))),
  ],
  timmy: () => [
    group({}, s("ellipse", { cx: 0, cy: 4, rx: 118, ry: 20, class: "f-shade" }), s("ellipse", { cx: 0, cy: -4, rx: 108, ry: 17, class: "f-wood-dark" }), s("ellipse", { cx: 0, cy: -9, rx: 108, ry: 17, class: "f-wood-light" }), s("ellipse", { cx: 0, cy: -9, rx: 86, ry: 12, class: "l-brass", "stroke-width": 2, "stroke-dasharray": "10 7" })),
    group({ transform: "translate(0 -12)" }, group({ class: "figure" },
      path("M70-4L62-176", "l-beam", { "stroke-width": 7, "stroke-linecap": "round" }), disc(61, -188, 44, "orb-glow"), disc(61, -188, 14, "", { fill: "#ffe9b0" }), path("M50-176q-8-16 4-26M72-176q8-16-4-26", "l-brass", { "stroke-width": 4 }),
      path("M-62 0C-66-70-44-120 0-122C44-120 66-70 62 0Z", "", { fill: "#34468f" }), path("M10-121C46-116 66-70 62 0H24C34-50 30-96 10-121Z", "f-shade"),
      path("M-52-8h104v10H-52z", "f-brass", { opacity: 0.9 }), ...[[-34, -40], [-22, -72], [36, -52], [-40, -16], [30, -24]].map(([x, y]) => path(`M${x} ${y - 6}l1.700 4.300 4.300 1.700-4.300 1.700-1.700 4.300-1.700-4.300-4.300-1.700 4.300-1.700z`, "", { fill: "#ffd98a" })),
      group({ class: "arm right" }, path("M38-100Q72-96 70-74L56-70Q50-84 30-84Z", "", { fill: "#2b3a78" }), disc(64, -74, 9, "", { fill: "var(--skin-c)" })),
      group({ class: "head" }, disc(0, -146, 27, "", { fill: "var(--skin-c)" }), path("M-27-142Q-30-96 0-74Q30-96 27-142Q16-130 0-131T-27-142Z", "", { fill: "#f4f1ea" }), path("M-16-134Q-8-142 0-135Q8-142 16-134Q8-128 0-132Q-8-128-16-134Z", "", { fill: "#fff" }), path("M-5-118q5 4 10 0", "l-ink", { "stroke-width": 2 }),
        disc(-9, -150, 3, "f-outline"), disc(9, -150, 3, "f-outline"), disc(0, -143, 4.500, "", { fill: "#dc9f7c" }), path("M-16-158q6-4 11-1M16-158q-6-4-11-1", "l-ink", { "stroke-width": 3 }),
        s("ellipse", { cx: 0, cy: -166, rx: 50, ry: 10, fill: "#27356f" }), path("M-32-168Q-16-214 10-262Q18-248 12-236Q28-206 32-168Q0-178-32-168Z", "", { fill: "#3f4f95" }), path("M12-236Q28-206 32-168Q24-172 14-173Q14-206 12-236Z", "f-shade"), path("M-32-168Q0-179 32-168L33-160Q0-170-33-160Z", "f-brass"),
        path("M-4-208l2.500 6.500 6.500 2.500-6.500 2.500-2.500 6.500-2.500-6.500-6.500-2.500 6.500-2.500z", "", { fill: "#ffe6a6" })), sparks(61, -196))),
  ],
};

/** One of the five, by id, with bench and light, at a place; where no cord can hang the light is unseen. */
export function person(id, name, [x, y, scale], hangs) {
  const lampAt = id === "timmy" ? [] : [hangs ? lamp(0, -238) : disc(0, -150, 170, "lamp-glow")];
  const label = s("text", { class: "name", y: id === "timmy" ? 34 : 26 });
  label.textContent = name;
  return group({ id: `at-${id}`, transform: `translate(${x} ${y}) scale(${scale})` }, ...lampAt, ...PEOPLE[id](), label);
}

/** A job: a small glowing parcel. Its name is one of our own word pairs. */
export function parcel(label) {
  const name = s("text", { class: "parcel-name", y: 20 });
  const hint = s("title");
  name.textContent = hint.textContent = label;
  return group({ class: "parcel" }, hint, disc(0, -12, 46, "parcel-glow"), box(-17, -26, 34, 27, "parcel-box", { rx: 4 }), path("M0-26V1M-17-15H17", "parcel-string"), path("M-9-34Q0-18 9-34Q0-26-9-34Z", "parcel-box"), name);
}

/** What a finished job becomes on its way through the window. */
export const comet = () => group({}, path("M0-6L-76 0L0 6Z", "comet-tail"), disc(0, 0, 7, "comet"), disc(0, 0, 30, "orb-glow"));
