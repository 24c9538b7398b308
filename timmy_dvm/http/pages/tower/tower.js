// The Workshop's page: keeps the WebSocket, paces what happens so that eyes can follow, writes the log.
// What people and models say comes in as `textContent` and as nothing else.

import { Scene } from "./scene.js";

const $ = (id) => document.getElementById(id);
const LEG_MS = 820; // how long a parcel is on its way when nothing hurries
const AT_WORK_MS = 1300; // nobody works for less than eyes can see
const LOG_LINES = 150;
const SEEN = {
  "job:arrived": "A request came to the door.",
  "job:sealed": "A sealed request came. Nobody here talks about those.",
  "payment:received": "A payment came in.",
  "refund:sent": "Change was given back.",
  "job:complete": "An answer is finished and on its way.",
  "job:rejected": "A request was turned down.",
  "job:failed": "A request could not be done; what was paid goes back.",
  "job:expired": "An invoice was not paid and ran out.",
  "job:cancelled": "A request was taken back.",
};
const TOLD_BY_TIMMY = new Set(["job:complete", "job:rejected", "job:failed"]);

const scene = new Scene($("scene"), $("bubbles"));
const people = new Map();

// --- Who works here, in words: what a screen reader has instead of the picture ---

function introduce(agents) {
  people.clear();
  $("people").replaceChildren(...agents.map((agent) => {
    const line = document.createElement("li");
    const parts = { dot: "span", name: "b", doing: "span", trade: "span" };
    for (const [part, tag] of Object.entries(parts)) {
      parts[part] = document.createElement(tag);
      parts[part].className = part;
      line.append(parts[part]);
    }
    parts.name.textContent = agent.name;
    parts.trade.textContent = agent.trade;
    people.set(agent.id, { ...agent, line, doing: parts.doing, words: agent.doing });
    show(agent.id, agent.state, agent.doing);
    return line;
  }));
}

function show(id, state, doing) {
  const one = people.get(id);
  if (!one) return;
  Object.assign(one, { state, words: doing });
  one.line.dataset.state = state;
  one.doing.textContent = doing;
  scene.works(id, state === "working");
  describe();
}

let describing = 0;
function describe() {
  clearTimeout(describing);
  describing = setTimeout(() => {
    $("scene-words").textContent = [...people.values()].map((one) => `${one.name} ${one.words}.`).join(" ");
  }, 400);
}

// --- The log ---

function write(at, fill) {
  const log = $("words");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const line = document.createElement("li");
  const time = document.createElement("time");
  const when = at ? new Date(at) : new Date();
  time.dateTime = when.toISOString();
  time.textContent = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const words = document.createElement("span");
  fill(words, line);
  line.append(time, words);
  log.append(line);
  while (log.children.length > LOG_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function writeSaid(who, id, text) {
  write(null, (words) => {
    const name = document.createElement("span");
    name.className = `who ${id === "timmy" ? "timmy" : ""}`;
    name.textContent = `${who}: `;
    words.append(name, document.createTextNode(text));
  });
}

function writeSeen(event, at) {
  const sentence = SEEN[event];
  if (sentence) write(at, (words, line) => { line.className = "seen"; words.textContent = sentence; });
}

// --- What happens, step by step ---

const steps = [];
const since = new Map();
let walking = false;
const pause = (ms) => new Promise((done) => setTimeout(done, document.hidden ? 0 : ms));
const pace = () => LEG_MS / (1 + steps.length / 8);

async function walk() {
  if (walking) return;
  walking = true;
  while (steps.length) {
    const step = steps.shift();
    try { await step(); } catch (fault) { console.warn("a step was left out", fault); }
  }
  walking = false;
}

function then(step) {
  steps.push(step);
  void walk();
}

async function setState({ agentId, state, doing }) {
  if (state === "working") since.set(agentId, performance.now());
  else {
    const worked = performance.now() - (since.get(agentId) ?? -Infinity);
    const wait = Math.min(AT_WORK_MS - worked, AT_WORK_MS) / (1 + steps.length / 8);
    if (wait > 0) await pause(wait);
  }
  show(agentId, state, doing);
}

function count({ sealed, more, visitors }) {
  const shelf = [];
  if (sealed) shelf.push(sealed === 1 ? "a sealed parcel" : `${sealed} sealed parcels`);
  if (more) shelf.push(`${more} more waiting`);
  $("shelf").hidden = !shelf.length;
  $("shelf").textContent = shelf.join(" · ");
  $("visitors").textContent = visitors === 1 ? "you are here" : `${visitors} are here`;
}

const heard = {
  world_state(world) {
    steps.length = 0;
    introduce(world.agents);
    scene.reset(world.parcels);
    count(world);
    if (!$("words").childElementCount) world.events.slice(-6).forEach((seen) => writeSeen(seen.event, seen.at));
  },
  agent_state(frame) { then(() => setState(frame)); },
  parcel({ label, at, how }) {
    then(() => (at ? scene.bring(label, at, pace()) : scene.take(label, how, pace())));
  },
  counts: count,
  chat({ agentId, text }) {
    switch (agentId) {
      case "visitor": // in the log alone: nobody puts words into the picture
        writeSaid("Visitor", agentId, text);
        break;
      case "timmy": // a bubble, and "Timmy: …" in the log
        writeSaid("Timmy", agentId, text);
        then(() => scene.say("timmy", text));
        break;
      default: // notes of the others on payments and change: a bubble; the log has the event
        then(() => scene.say(agentId, text));
    }
  },
  world_event({ event, at }) {
    if (!TOLD_BY_TIMMY.has(event)) writeSeen(event, at);
  },
};

// --- The connection ---

let socket = null;
let tries = 0;

function connection(state, words) {
  $("connection").dataset.state = state;
  $("connection").textContent = words;
  $("say").querySelector("button").disabled = state !== "open";
}

function open() {
  connection("connecting", "Opening the door…");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/api/ws`);
  socket.addEventListener("open", () => { tries = 0; connection("open", "Live"); });
  socket.addEventListener("message", ({ data }) => {
    let frame;
    try { frame = JSON.parse(data); } catch { return; }
    if (Object.hasOwn(heard, frame?.type)) heard[frame.type](frame);
  });
  socket.addEventListener("close", () => again());
}

function again() {
  const wait = Math.min(30, 2 ** tries++) * (0.75 + Math.random() / 2);
  connection("closed", `Out of touch; trying again in ${Math.ceil(wait)} s`);
  setTimeout(open, wait * 1000);
}

$("say").addEventListener("submit", (event) => { // Enter sends, then the field is empty
  event.preventDefault();
  const text = $("said").value.trim();
  if (!text || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "visitor_message", text }));
  $("said").value = "";
});

open();
