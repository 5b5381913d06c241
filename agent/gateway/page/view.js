// What the page shows. Words are only ever set as text, as far as they can be seen: they are other
// people's.

import { printable } from "./printable.js";
import { median } from "./response.js";

const OUTCOMES = {
  completed: "The agent said goodbye.",
  hung_up: "You hung up.",
  idle: "Nothing was heard for a while: the call was ended.",
  time_limit: "The call reached its time limit.",
  refused: "The gateway ended the call.",
  failed: "Something failed in the agent: its log and the trace say what.",
  shutdown: "The gateway is shutting down.",
};
const STATES = { initializing: "Connecting…", idle: "Listening", listening: "Listening", thinking: "Thinking…", speaking: "Speaking" };
const GOOD = 0.8; // seconds; people take more for a pause
const SLOW = 1.5; // and this for a fault

export class View {
  onCall = () => {};
  onTypeInstead = () => {};
  onType = () => {};
  onMute = () => {};

  #part;
  #document;
  #answers = []; // seconds
  #speeches = []; // the agent's, whose words have not come yet
  #speaking = null; // the agent's speech that is being played
  #turn = null; // the caller's turn, while it may go on
  #began = null; // of the call; on performance's clock

  constructor(document) {
    this.#document = document;
    this.#part = (id) => document.getElementById(id);
    this.#part("call").onclick = () => this.onCall();
    this.#part("type-instead").onclick = () => this.onTypeInstead();
    this.#part("mute").onclick = () => this.#toggleMute();
    this.#part("typing").onsubmit = (event) => {
      event.preventDefault();
      this.#type();
    };
    this.#part("token").onkeydown = (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // the focus moves to the button, which would take the key for a press
      this.onCall();
    };
  }

  get token() {
    return this.#part("token").value.trim();
  }

  // -- phases ---------------------------------------------------------------------------------

  ready(tokenRequired) {
    this.#part("token-field").hidden = !tokenRequired;
    this.#part("call").disabled = false;
    this.#phase("idle", "Start talking", "Ready");
    this.#part(tokenRequired ? "token" : "call").focus();
  }

  opening() {
    this.#phase("opening", "Cancel", "Opening the microphone…");
    this.#part("problem").hidden = this.#part("type-instead").hidden = true;
    this.#part("empty").hidden = true;
    this.#part("trace").hidden = true;
    this.#part("words").replaceChildren();
    this.#answers = [];
    this.#speeches = [];
    this.#speaking = this.#turn = null;
    this.#figures();
    this.#setMuted(false);
    if (this.#document.activeElement !== this.#part("call")) this.#part("call").focus();
  }

  started(id, trace) {
    this.#phase("open", "Hang up", "Connected");
    this.#began = performance.now();
    this.#enable(true);
    const code = this.#element("code", "", `parley traces show ${id}`);
    code.title = printable(`Trace ${trace}`);
    this.#part("trace").replaceChildren("See its trace: ", code);
    this.#part("trace").hidden = false;
  }

  ended(outcome) {
    this.#phase("ending", "Close", OUTCOMES[outcome] ?? outcome);
    this.#enable(false);
  }

  idle() {
    const { phase } = this.#document.body.dataset;
    const status = phase === "ending" ? this.#part("status").textContent : "Ready";
    this.#phase("idle", "Start talking", status);
    this.#enable(false);
    this.#began = null;
    this.#hear("");
    this.#speaking?.classList.remove("speaking");
    this.#dropEmpty();
  }

  problem(text, typing) {
    this.#part("problem").textContent = printable(text);
    this.#part("problem").hidden = false;
    this.#part("type-instead").hidden = !typing;
  }

  // -- during the call ------------------------------------------------------------------------

  state(agent, user) {
    if (this.#document.body.dataset.phase !== "open") return;
    this.#document.body.dataset.agent = agent;
    this.#part("status").ariaLive = "off"; // a screen reader would talk over the agent
    this.#status(user === "speaking" ? "Hearing you" : (STATES[agent] ?? agent));
  }

  words(speaker, text, final) {
    if (speaker === "user") this.#heard(text, final);
    else this.#said(text, final);
  }

  tool(name, given, ok) {
    const tool = this.#element("div", ok ? "tool" : "tool failed");
    tool.append(
      this.#element("span", "mark", ok ? "✓" : "✗"),
      this.#element("strong", "", name.replaceAll("_", " ")),
      this.#element("span", "given", readable(given)),
    );
    this.#add(tool);
  }

  speechStarted() {
    this.#dropEmpty();
    this.#speaking = this.#bubble("agent", "");
    this.#speaking.classList.add("speaking");
    this.#speeches.push(this.#speaking);
    this.#turn = null;
    this.#hear("");
  }

  speechEnded(interrupted) {
    this.#speaking?.classList.remove("speaking");
    if (interrupted) this.#fact(this.#speaking, "cut", "interrupted");
    this.#speaking = null;
  }

  /** The agent's speech can be heard; `seconds` after the caller's last sample, or null. */
  audible(seconds) {
    if (seconds === null) return;
    this.#answers.push(seconds);
    const grade = seconds <= GOOD ? "good" : seconds <= SLOW ? "fair" : "slow";
    this.#fact(this.#speaking ?? this.#speeches.at(-1), grade, `answered in ${milliseconds(seconds)}`);
    this.#figures();
  }

  /** Follow `level("caller")` and `level("agent")` until called with null. */
  showLevels(level) {
    this.#level = level;
    if (level) this.#follow();
    else this.#setLevels(0, 0);
  }

  // -- parts ----------------------------------------------------------------------------------

  #level = null;

  #follow() {
    if (!this.#level) return;
    this.#setLevels(this.#level("caller"), this.#level("agent"));
    if (this.#began !== null) {
      const seconds = Math.floor((performance.now() - this.#began) / 1000);
      const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      if (this.#part("clock").textContent !== clock) this.#part("clock").textContent = clock;
    }
    requestAnimationFrame(() => this.#follow());
  }

  #setLevels(caller, agent) {
    for (const [side, level] of [["caller", caller], ["agent", agent]]) {
      const meter = this.#part(`${side}-level`);
      meter.value = level;
      meter.style.setProperty("--value", level.toFixed(3)); // for its looks
    }
    this.#document.body.style.setProperty("--level", Math.max(caller, agent).toFixed(3));
  }

  #heard(text, final) {
    this.#hear(final ? "" : text);
    if (!final || !text.trim()) return;
    const said = this.#turn?.querySelector(".said");
    if (said) said.textContent += ` ${printable(text)}`;
    else this.#turn = this.#bubble("user", text);
    this.#scroll();
  }

  #said(text, final) {
    const bubble = this.#speeches[0] ?? this.#bubble("agent", "");
    bubble.querySelector(".said").textContent = printable(text);
    if (final) this.#speeches.shift();
    else if (!this.#speeches.length) this.#speeches.push(bubble);
    this.#scroll();
  }

  #type() {
    const text = this.#part("typed").value.trim();
    if (!text) return;
    this.onType(text);
    this.#part("typed").value = "";
    this.#turn = null;
    this.#bubble("user", text);
  }

  #toggleMute() {
    const muted = this.#part("mute").getAttribute("aria-pressed") !== "true";
    this.#setMuted(muted);
    this.onMute(muted);
  }

  #setMuted(muted) {
    this.#part("mute").setAttribute("aria-pressed", String(muted));
  }

  #enable(talking) {
    for (const id of ["mute", "typed", "send"]) this.#part(id).disabled = !talking;
  }

  #phase(phase, label, status) {
    this.#document.body.dataset.phase = phase;
    delete this.#document.body.dataset.agent;
    this.#part("call-label").textContent = printable(label);
    this.#part("status").ariaLive = "polite";
    this.#status(status);
  }

  #status(text) {
    const shown = printable(text);
    if (this.#part("status").textContent !== shown) this.#part("status").textContent = shown;
  }

  #hear(text) {
    this.#part("hearing").textContent = printable(text);
    this.#part("hearing").hidden = !text;
  }

  #figures() {
    const answers = this.#answers;
    this.#part("last").textContent = answers.length ? milliseconds(answers.at(-1)) : "–";
    this.#part("median").textContent = answers.length ? milliseconds(median(answers)) : "–";
    this.#part("answers").textContent = String(answers.length);
  }

  /** Speeches that ended before a word of them was heard. */
  #dropEmpty() {
    for (const bubble of this.#speeches) {
      if (!bubble.querySelector(".said").textContent) bubble.remove();
    }
    this.#speeches = [];
  }

  #bubble(speaker, text) {
    const bubble = this.#element("div", `turn ${speaker}`);
    bubble.append(
      this.#element("span", "who", speaker === "user" ? "You" : "Agent"),
      this.#element("p", "said", text),
    );
    this.#add(bubble);
    return bubble;
  }

  #fact(bubble, kind, text) {
    bubble?.append(this.#element("p", `fact ${kind}`, text));
    this.#scroll();
  }

  #element(tag, kind, text = "") {
    const element = this.#document.createElement(tag);
    if (kind) element.className = kind;
    element.textContent = printable(text);
    return element;
  }

  #add(item) {
    this.#part("words").append(item);
    this.#scroll();
  }

  #scroll() {
    this.#part("words").scrollTop = this.#part("words").scrollHeight;
  }
}

function milliseconds(seconds) {
  return `${Math.round(1000 * seconds)} ms`;
}

/** A tool's arguments, JSON, as a person writes them. */
function readable(json) {
  try {
    return Object.entries(JSON.parse(json))
      .map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`)
      .join(" · ");
  } catch {
    return json;
  }
}
