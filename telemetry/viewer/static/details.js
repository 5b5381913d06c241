// All that is known of one span, beside the waterfall.

import { clock, duration } from "./axis.js";
import { element } from "./dom.js";
import { printable } from "./printable.js";

export class Details {
  onClose = () => {};

  #panel;
  #load;
  #asked = 0;
  #start;

  /** `load(id)` gives a promise of what is known of a span. */
  constructor(panel, load, start) {
    this.#panel = panel;
    this.#load = load;
    this.#start = start;
    panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  async show(id, focus) {
    const asked = ++this.#asked;
    let made;
    try {
      made = this.#filled(await this.#load(id));
    } catch {
      made = [element("p", { class: "failure" }, "What is known of this span can't be read now.")];
    }
    if (asked !== this.#asked) return; // another one was asked for meanwhile
    const close = element("button", { class: "plain close", type: "button", "aria-label": "Close" }, "✕");
    close.addEventListener("click", () => this.close());
    this.#panel.replaceChildren(close, ...made);
    this.#panel.hidden = false;
    if (focus) close.focus();
  }

  close() {
    this.#asked++;
    this.#panel.hidden = true;
    this.onClose();
  }

  #filled(span) {
    const { op, name, status, origin, process, errors, attributes } = span;
    const seconds = span.seconds === null ? "still open" : duration(span.seconds);
    const at = clock(span.started_at - this.#start, 3);
    return [
      element("h3", {}, element("span", { class: "op" }, op), " ", name === op ? "" : name),
      list([
        ["status", status],
        ["start", at],
        ["took", seconds],
        ["of", process],
        ["made by", origin],
        ["id", span.id],
      ]),
      ...errors.map(error),
      element("h4", {}, "Attributes"),
      Object.keys(attributes).length
        ? list(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)))
        : element("p", { class: "soft" }, "None."),
    ];
  }
}

function list(pairs) {
  const made = element("dl", { class: "pairs" });
  for (const [name, value] of pairs) {
    made.append(element("dt", {}, name), element("dd", {}, shown(value)));
  }
  return made;
}

function error({ type, message, event_id: event, frames }) {
  const made = element("div", { class: "failure" }, element("strong", {}, type), " ", message);
  if (frames.length) {
    const lines = element("ol", { class: "frames" }, ...frames.map((frame) => element("li", {}, frame)));
    made.append(lines);
  }
  if (event) made.append(element("p", { class: "soft" }, "event ", element("code", {}, event)));
  return made;
}

/** A value: numbers short, JSON laid out, texts as they are. */
function shown(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  if (typeof value === "string") {
    const laid = /^\s*[[{]/.test(value) ? laidOut(value) : null;
    return laid ?? value;
  }
  return value !== null && typeof value === "object" ? code(value) : String(value);
}

function laidOut(text) {
  try {
    return code(JSON.parse(text));
  } catch {
    return null;
  }
}

function code(value) {
  const made = element("pre", { tabindex: "0", role: "group", "aria-label": "Value" });
  const text = JSON.stringify(value, null, 1);
  made.textContent = text
    .split("\n")
    .slice(0, 2000)
    .map((line) => /^ */.exec(line)[0] + printable(line))
    .join("\n");
  return made;
}
