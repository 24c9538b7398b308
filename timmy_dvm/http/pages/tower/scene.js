// The scene: lays the pieces out for the shape of the screen, moves parcels, shows who speaks.

import { comet, definitions, parcel, person, room, s, shelf, window_ } from "./draw.js";

const SHAPES = {
  wide: { w: 1200, h: 600, floor: 372, window: [600, 128], shelves: [[60, 232, 150, 1], [950, 232, 190, 4], [330, 168, 130, 2], [740, 168, 130, 6]],
    places: { alpha: [150, 532, 1], beta: [376, 556, 1], timmy: [600, 470, 1], gamma: [824, 556, 1], delta: [1050, 532, 1] } },
  tall: { low: ["gamma", "delta"], w: 640, h: 812, floor: 384, window: [320, 130], shelves: [[34, 214, 140, 1], [466, 214, 140, 4]],
    places: { timmy: [320, 446, 0.9], alpha: [132, 532, 0.92], beta: [508, 532, 0.92], gamma: [508, 772, 0.92], delta: [132, 772, 0.92] } },
};
const NAMES = { alpha: "Alpha", beta: "Beta", timmy: "Timmy", gamma: "Gamma", delta: "Delta" };
const BENCH_TOP = 64;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Scene {
  constructor(svg, bubbles) {
    this.svg = svg;
    this.bubbles = bubbles;
    this.parcels = new Map(); // label → { node, at, x, y }
    this.speaking = new Map(); // id → { node, timers }
    const narrow = matchMedia("(max-width: 760px)");
    narrow.addEventListener("change", () => this.draw(narrow.matches ? "tall" : "wide"));
    this.draw(narrow.matches ? "tall" : "wide");
  }

  draw(name) {
    const shape = (this.shape = SHAPES[name]);
    const title = this.svg.querySelector("title");
    const working = [...this.svg.querySelectorAll(".working")].map((node) => node.id);
    this.svg.setAttribute("viewBox", `0 0 ${shape.w} ${shape.h}`);
    this.svg.dataset.shape = name;
    const motes = Array.from({ length: 16 }, (_, i) => s("circle", { class: "mote", cx: (i * 211) % shape.w, cy: shape.floor - 20 + ((i * 67) % 190), r: 1.2 + (i % 3) }));
    const people = Object.keys(shape.places).sort((a, b) => shape.places[a][1] - shape.places[b][1]);
    this.sky = s("g", {});
    this.air = s("g", {});
    this.svg.replaceChildren(title, definitions(), room(shape.w, shape.h, shape.floor), window_(...shape.window),
      ...shape.shelves.map((one) => shelf(...one)), this.sky, s("g", {}, ...motes),
      ...people.map((id) => person(id, NAMES[id], shape.places[id], !shape.low?.includes(id))), this.air);
    for (const id of working) this.svg.querySelector(`#${id}`)?.classList.add("working");
    for (const [label, job] of this.parcels) {
      job.node = parcel(label);
      this.air.append(job.node);
    }
    this.settle();
  }

  works(id, working) {
    this.svg.querySelector(`#at-${id}`)?.classList.toggle("working", working);
  }

  /** Bring a job to a bench within `ms`; a new one comes through the door. */
  async bring(label, at, ms) {
    if (!this.shape.places[at]) return;
    let job = this.parcels.get(label);
    if (!job) {
      const [x, y] = this.shape.places.alpha;
      job = { node: parcel(label), at, x: x - 120, y: y - 150 };
      this.parcels.set(label, job);
      this.air.append(job.node);
    }
    const before = job.at;
    job.at = at;
    if (before !== at) this.settle(before);
    this.crowd();
    const [x, y] = this.spot(label, job);
    await this.fly(job.node, [job.x, job.y], [x, y], ms, 90);
    [job.x, job.y] = [x, y];
    this.settle(at);
  }

  /** A job leaves: finished through the window as a comet, all others quietly. */
  async take(label, how, ms) {
    const job = this.parcels.get(label);
    if (!job) return;
    this.parcels.delete(label);
    this.settle(job.at);
    this.crowd();
    const [tx, ty, scale] = this.shape.places.timmy;
    if (how === "complete") {
      await this.fly(job.node, [job.x, job.y], [tx + 62 * scale, ty - 196 * scale], ms, 60);
      job.node.remove();
      void this.leave([tx + 62 * scale, ty - 196 * scale], ms * 1.4);
      return;
    }
    job.node.classList.add("broken");
    await this.fly(job.node, [job.x, job.y], [job.x, job.y + (how === "shelved" ? -40 : 34)], ms * 0.8, 0);
    job.node.remove();
  }

  async leave(from, ms) {
    const star = comet();
    this.sky.append(star);
    const [x, y] = this.shape.window;
    await this.fly(star, from, [x - 46, y - 58], ms, 70, true);
    star.remove();
  }

  /** Everything as a snapshot says, at once. */
  reset(parcels) {
    for (const job of this.parcels.values()) job.node.remove();
    this.parcels.clear();
    for (const { label, at } of parcels) {
      if (!this.shape.places[at]) continue;
      const job = { node: parcel(label), at, x: 0, y: 0 };
      this.parcels.set(label, job);
      this.air.append(job.node);
    }
    this.settle();
    this.crowd();
  }

  spot(label, job) {
    const [x, y, scale] = this.shape.places[job.at];
    const here = [...this.parcels].filter(([, other]) => other.at === job.at).map(([name]) => name);
    const step = Math.min(46, 170 / here.length);
    return [x + (here.indexOf(label) - (here.length - 1) / 2) * step * scale, y - BENCH_TOP * scale];
  }

  /** Put what lies on a bench, or on all, side by side. */
  settle(bench) {
    for (const [label, job] of this.parcels) {
      if ((bench && job.at !== bench) || job.flying) continue;
      [job.x, job.y] = this.spot(label, job);
      job.node.setAttribute("transform", `translate(${job.x} ${job.y})`);
    }
    this.stagger();
  }

  /** Names of neighbours at two heights, so that both can be read. */
  stagger() {
    const seen = {};
    for (const job of this.parcels.values()) {
      seen[job.at] = (seen[job.at] ?? 0) + 1;
      job.node.querySelector(".parcel-name").setAttribute("y", seen[job.at] % 2 ? 20 : 38);
    }
  }

  crowd() {
    const counts = {};
    for (const job of this.parcels.values()) counts[job.at] = (counts[job.at] ?? 0) + 1;
    this.air.classList.toggle("crowded", Object.values(counts).some((count) => count > 2));
  }

  fly(node, [x0, y0], [x1, y1], ms, lift, turned = false) {
    const put = (t) => {
      const eased = t < 0.5 ? 2 * t * t : 1 - (2 - 2 * t) ** 2 / 2;
      const x = x0 + (x1 - x0) * eased, y = y0 + (y1 - y0) * eased - lift * 4 * eased * (1 - eased);
      const angle = turned ? (Math.atan2(y1 - y0 - lift * 4 * (1 - 2 * eased), x1 - x0) * 180) / Math.PI : 0;
      const size = turned ? 1 - 0.72 * eased : 1;
      node.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${angle.toFixed(1)}) scale(${size.toFixed(2)})`);
    };
    if (still.matches || document.hidden || ms < 20) {
      put(1);
      return Promise.resolve();
    }
    return new Promise((done) => {
      const begun = performance.now();
      const step = (now) => {
        const t = Math.min(1, Math.max(0, (now - begun) / ms));
        put(t);
        if (t < 1 && node.isConnected && !document.hidden) requestAnimationFrame(step);
        else done();
      };
      requestAnimationFrame(step);
    });
  }

  /** Words over a head. The text comes from elsewhere and is only ever text. */
  say(id, text) {
    if (!this.shape.places[id]) return;
    this.hush(id);
    const node = document.createElement("div");
    node.className = `bubble ${id}`;
    node.textContent = text;
    this.bubbles.append(node);
    const [x, y, scale] = this.shape.places[id];
    const { width, height } = this.bubbles.getBoundingClientRect();
    const unit = width / this.shape.w, half = node.offsetWidth / 2;
    const head = (y - (id === "timmy" ? 282 : 206) * scale) * unit;
    const left = Math.min(Math.max(x * unit, half + 6), width - half - 6);
    const tail = Math.min(Math.max(50 + ((x * unit - left) / (2 * half)) * 100, 10), 90);
    node.style.left = `${left}px`;
    node.style.top = `${Math.min(Math.max(head, node.offsetHeight + 8), height)}px`;
    node.style.setProperty("--tail", `${tail}%`);
    const shown = 3200 + 45 * text.length;
    const timers = [setTimeout(() => node.classList.add("going"), shown), setTimeout(() => this.hush(id), shown + 600)];
    this.speaking.set(id, { node, timers });
  }

  hush(id) {
    const before = this.speaking.get(id);
    if (!before) return;
    before.timers.forEach(clearTimeout);
    before.node.remove();
    this.speaking.delete(id);
  }
}
