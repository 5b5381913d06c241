// The conversation over time: both voices, the words where they were said, the gap before each
// answer in tiles, and marks where something went wrong. Voices are drawn on a canvas as wide as the
// screen; all else are elements in a rail as wide as the conversation, made when they come into view.

import { clock, duration } from "./axis.js";
import { element, stageClass, words } from "./dom.js";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600]; // seconds
const RULER = 24; // pixels
const VOICE = 52;
const CALLER_TOP = 44;
const AGENT_TOP = 188;
const LETTER = 6.6; // pixels, about
const LINES = 3; // of words
const MARKS = { error: "✕", slow: "◷", interruption: "⚡", aborted: "✕" };

export class Strip {
  onPick = () => {}; // a moment: play from there
  onSelect = () => {}; // a span

  #scroller;
  #rail;
  #view;
  #canvas;
  #items;
  #playhead;
  #axis;
  #document = null;
  #peaks = [];
  #shown = new Map();
  #scale = 0; // pixels a second
  #all = [];
  #silent = false; // the scroller is being moved by us

  constructor(scroller, axis) {
    this.#scroller = scroller;
    this.#axis = axis;
    this.#canvas = element("canvas", { "aria-hidden": "true" });
    this.#playhead = element("div", { class: "playhead", "aria-hidden": "true" });
    const lanes = ["caller", "agent"].map((who) => element("span", { class: `lane ${who}` }, who));
    this.#view = element("div", { class: "view" }, this.#canvas, ...lanes, this.#playhead);
    this.#items = element("div", { class: "items" });
    this.#rail = element("div", { class: "rail" }, this.#view, this.#items);
    scroller.replaceChildren(this.#rail);
    scroller.addEventListener("scroll", () => this.#scrolled());
    scroller.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#rail.addEventListener("click", (event) => this.#clicked(event));
    axis.onChange(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(scroller);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(document, peaks) {
    this.#document = document;
    this.#peaks = peaks.filter(Boolean).map(decoded);
    this.#all = [...this.#speeches(), ...this.#responses(), ...this.#marks()];
    this.#scale = 0;
    this.draw();
  }

  /** Draw what is in view now. */
  draw() {
    const width = this.#scroller.clientWidth;
    if (!this.#document || !width) return;
    const { at, low, high, length } = this.#axis;
    const scale = width / length;
    if (scale !== this.#scale) {
      this.#scale = scale;
      this.#shown.clear();
      this.#items.replaceChildren();
      this.#rail.style.width = `${Math.max(width, (high - low) * scale)}px`;
    }
    this.#view.style.width = `${width}px`;
    const left = (at - low) * scale;
    if (Math.abs(this.#scroller.scrollLeft - left) > 1) {
      this.#silent = true;
      this.#scroller.scrollLeft = left;
    }
    this.#paint(width);
    this.#fill(width);
    this.move(this.#now);
  }

  #now = 0;

  /** The playhead is at this moment. */
  move(moment) {
    this.#now = moment;
    const share = this.#axis.share(moment);
    this.#playhead.hidden = share < 0 || share > 1;
    this.#playhead.style.transform = `translateX(${share * this.#scroller.clientWidth}px)`;
    for (const [item, made] of this.#shown) {
      if (!item.words) continue;
      made.classList.toggle("current", moment >= item.at && moment < item.until);
      light(made, moment);
    }
  }

  // -- moving ---------------------------------------------------------------------------------

  #scrolled() {
    if (this.#silent) {
      this.#silent = false;
      return;
    }
    this.#axis.move(this.#axis.low + this.#scroller.scrollLeft / this.#scale);
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the browser scrolls
    event.preventDefault();
    this.#axis.zoom(Math.exp(-event.deltaY / 200), this.#moment(event));
  }

  #moment(event) {
    const { left } = this.#scroller.getBoundingClientRect();
    return this.#axis.at + (event.clientX - left) / this.#scale;
  }

  #clicked(event) {
    const item = event.target.closest("[data-at]");
    const span = event.target.closest("[data-span]")?.dataset.span;
    this.onPick(item ? Number(item.dataset.at) : this.#moment(event));
    if (span) this.onSelect(span);
  }

  // -- the canvas -----------------------------------------------------------------------------

  #paint(width) {
    const height = this.#scroller.clientHeight;
    const dots = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * dots);
    this.#canvas.height = Math.round(height * dots);
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${height}px`;
    const pen = this.#canvas.getContext("2d");
    pen.scale(dots, dots);
    const style = getComputedStyle(this.#scroller);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.#ruler(pen, width, height, colour);
    for (const [side, top, name] of [[0, CALLER_TOP, "--caller"], [1, AGENT_TOP, "--agent"]]) {
      pen.fillStyle = colour("--line");
      pen.fillRect(0, top + VOICE / 2 - 0.5, width, 1);
      pen.fillStyle = colour(name);
      if (this.#peaks.length) this.#voice(pen, width, side, top);
      else this.#stretches(pen, side, top);
    }
  }

  #ruler(pen, width, height, colour) {
    const { at, until } = this.#axis;
    const step = STEPS.find((each) => each * this.#scale >= 76) ?? 3600;
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let n = Math.ceil(at / step); n * step <= until; n++) {
      const x = (n * step - at) * this.#scale;
      pen.fillStyle = colour("--line");
      pen.fillRect(Math.round(x), RULER - 6, 1, height - RULER + 6);
      pen.fillStyle = colour("--soft");
      const text = clock(n * step, step < 1 ? 1 : 0);
      if (x + 4 + LETTER * text.length < width) pen.fillText(text, x + 4, RULER / 2);
    }
  }

  /** A side's sound: for each pixel the loudest there. */
  #voice(pen, width, side, top) {
    const middle = top + VOICE / 2;
    for (const { at, rate, channels } of this.#peaks) {
      const values = channels[side];
      if (!values) continue;
      for (let x = 0; x < width; x++) {
        const start = (this.#axis.at + x / this.#scale - at) * rate;
        const end = Math.max(start + 1, start + rate / this.#scale);
        let loudest = 0;
        for (let n = Math.max(0, Math.floor(start)); n < end && n < values.length; n++) {
          if (values[n] > loudest) loudest = values[n];
        }
        const half = (loudest / 255) * (VOICE / 2);
        if (half >= 0.5) pen.fillRect(x, middle - half, 1, 2 * half);
      }
    }
  }

  /** Without a recording: when somebody spoke. */
  #stretches(pen, side, top) {
    const who = side ? "agent" : "caller";
    pen.globalAlpha = 0.55;
    for (const { speeches } of this.#document.turns) {
      for (const speech of speeches) {
        if (speech.who !== who || speech.typed) continue;
        const x = (speech.at - this.#axis.at) * this.#scale;
        const long = Math.max(2, (speech.until - speech.at) * this.#scale);
        pen.beginPath();
        pen.roundRect(x, top + VOICE / 2 - 9, long, 18, 5);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
  }

  // -- elements -------------------------------------------------------------------------------

  #fill(width) {
    const { at, until, length } = this.#axis;
    for (const [item, made] of this.#shown) {
      if (item.until < at - length || item.at > until + length) {
        made.remove();
        this.#shown.delete(item);
      }
    }
    for (const item of this.#all) {
      if (this.#shown.has(item) || item.until < at - length / 2 || item.at > until + length / 2) continue;
      const made = item.make();
      made.style.left = `${(item.at - this.#axis.low) * this.#scale}px`;
      if (!item.point) made.style.width = `${this.#width(item)}px`;
      this.#items.append(made);
      this.#shown.set(item, made);
    }
  }

  /** Words may be wider than their speech, up to where the same side speaks again. */
  #width({ at, until, letters, next }) {
    const own = Math.max(2, (until - at) * this.#scale);
    if (!letters) return own;
    return Math.max(own, Math.min((letters * LETTER) / LINES + 24, (next - at) * this.#scale - 4));
  }

  #speeches() {
    const found = [];
    for (const turn of this.#document.turns) {
      for (const speech of turn.speeches) {
        if (!speech.words.length) continue;
        const { at, until } = speech;
        const letters = speech.words.reduce((sum, word) => sum + word.text.length + 1, 0);
        const item = { at, until, letters, next: this.#next(speech) };
        found.push({ ...item, words: true, make: () => this.#speech(speech, item) });
      }
    }
    return found;
  }

  /** When the same side speaks again. */
  #next({ who, at }) {
    let next = Infinity;
    for (const turn of this.#document.turns) {
      for (const other of turn.speeches) {
        if (other.who === who && other.at > at) next = Math.min(next, other.at);
      }
    }
    return next;
  }

  #speech(speech, item) {
    const wide = this.#width(item);
    const own = (item.until - item.at) * this.#scale;
    const apart = own > 1.7 * LETTER * item.letters && speech.words.length < 400;
    const made = element("p", {
      class: `speech ${speech.who}${apart ? " apart" : ""}${wide < 34 ? " tiny" : ""}${speech.interrupted ? " cut" : ""}`,
      "data-at": speech.at,
    });
    for (const word of speech.words) {
      const span = element("span", { class: "word", "data-at": word.at, "data-until": word.until }, word.text);
      if (apart) span.style.left = `${(word.at - speech.at) * this.#scale}px`;
      made.append(span, " ");
    }
    return made;
  }

  #responses() {
    const found = [];
    for (const turn of this.#document.turns) {
      const { response } = turn;
      if (!response) continue;
      for (const stage of response.stages) {
        const { at, until } = stage;
        found.push({ at, until, make: () => this.#stage(stage, response) });
      }
      const { at, until } = response;
      found.push({ at, until, point: true, make: () => this.#latency(turn) });
    }
    return found;
  }

  #stage({ name, at, until, span }, response) {
    const text = words(name);
    const fits = (until - at) * this.#scale > LETTER * text.length + 8;
    const made = element("div", {
      class: `stage ${stageClass(name)}`,
      title: `${text} ${duration(until - at)}`,
      "data-at": at,
      "data-span": span ?? response.span,
    });
    if (fits) made.append(text);
    return made;
  }

  #latency({ index, response }) {
    const { at, latency, grade, span, slowest, slowest_seconds: seconds } = response;
    const told = slowest ? `, most of it ${words(slowest)}: ${duration(seconds)}` : "";
    return element(
      "button",
      {
        class: `latency ${grade}${this.#scale < 12 ? " tiny" : ""}`,
        type: "button",
        "aria-label": `Turn ${index} was answered after ${duration(latency)}${told}`,
        "data-at": at,
        "data-span": span,
      },
      duration(latency),
    );
  }

  #marks() {
    return this.#document.problems.map((problem) => ({
      at: problem.at,
      until: problem.at,
      point: true,
      make: () =>
        element(
          "button",
          {
            class: `mark ${problem.kind}`,
            type: "button",
            title: problem.text,
            "aria-label": `${clock(problem.at, 1)}: ${problem.text}`,
            "data-at": problem.at,
            "data-span": problem.span,
          },
          MARKS[problem.kind],
        ),
    }));
  }
}

/** Light the word that is said at this moment. */
export function light(box, moment) {
  for (const word of box.getElementsByClassName("word")) {
    const { at, until } = word.dataset;
    word.classList.toggle("now", moment >= Number(at) && moment < Number(until));
  }
}

function decoded({ at, per_second: rate, channels }) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return { at, rate, channels: channels.map(bytes) };
}
