// The turns as a list: what was said, word for word, how long the answer took, and where that went.

import { clock, duration } from "./axis.js";
import { STAGES, element, stageClass, words } from "./dom.js";
import { light } from "./strip.js";

const WHO = { user: "by the caller", agent: "by the agent", application: "by the application" };

export class Transcript {
  onPick = () => {}; // a moment: play from there
  onSelect = () => {}; // a span

  #list;
  #boxes = [];

  constructor(list) {
    this.#list = list;
    list.addEventListener("click", (event) => {
      const at = event.target.closest("[data-at]")?.dataset.at;
      const span = event.target.closest("[data-span]")?.dataset.span;
      if (at !== undefined) this.onPick(Number(at));
      if (span) this.onSelect(span);
    });
  }

  show({ turns }) {
    this.#boxes = [];
    this.#list.replaceChildren(...turns.map((turn) => this.#turn(turn)));
    if (!turns.length) this.#list.append(element("li", { class: "soft" }, "Nothing was said."));
  }

  move(moment) {
    for (const { at, until, box } of this.#boxes) {
      box.classList.toggle("current", moment >= at && moment < until);
      light(box, moment);
    }
  }

  #turn(turn) {
    const made = element("li", { class: "turn", "data-index": turn.index });
    const { response } = turn;
    let told = !response;
    for (const speech of turn.speeches) {
      if (!told && speech.who === "agent" && speech.at >= response.until - 0.5) {
        made.append(this.#response(turn));
        told = true;
      }
      made.append(this.#speech(speech, turn));
    }
    if (!told) made.append(this.#response(turn));
    if (turn.interrupted) {
      const by = WHO[turn.interrupted_by] ?? "";
      made.append(element("p", { class: "fact interrupted" }, `⚡ interrupted ${by}`.trim()));
    }
    if (turn.false_interruptions) {
      made.append(element("p", { class: "fact" }, `paused ${turn.false_interruptions} × for a noise`));
    }
    return made;
  }

  #speech(speech, turn) {
    const who = speech.who === "caller" ? "Caller" : (turn.agent ?? "Agent");
    const at = speech.words[0]?.at ?? speech.at;
    const play = element(
      "button",
      { class: "from", type: "button", "data-at": at, "aria-label": `Go to ${clock(at, 1)}, ${who}` },
      clock(at, 1),
    );
    const said = element("span", { class: "said" });
    for (const word of speech.words) {
      said.append(element("span", { class: "word", "data-at": word.at, "data-until": word.until }, word.text), " ");
    }
    if (!speech.words.length) said.append(element("span", { class: "soft" }, speech.open ? "speaks…" : "…"));
    const box = element(
      "div",
      { class: `line ${speech.who}` },
      play,
      element("span", { class: "who" }, speech.typed ? `${who}, typed` : who),
      said,
    );
    this.#boxes.push({ at: speech.at, until: speech.until, box });
    return box;
  }

  #response(turn) {
    const { response } = turn;
    const badge = element(
      "button",
      {
        class: `fact ${response.grade}`,
        type: "button",
        "data-at": response.at,
        "data-span": response.span ?? turn.span,
      },
      `answered in ${duration(response.latency)}`,
    );
    const bar = element("div", { class: "stretch", "aria-hidden": "true" });
    const sums = new Map();
    for (const { name, at, until, span } of response.stages) {
      sums.set(name, (sums.get(name) ?? 0) + until - at);
      const tile = element("span", { class: stageClass(name), title: `${words(name)} ${duration(until - at)}`, "data-at": at, "data-span": span });
      tile.style.flexGrow = until - at;
      bar.append(tile);
    }
    const order = ([a], [b]) => STAGES.indexOf(a) - STAGES.indexOf(b);
    const stages = element("ul", { class: "stages" });
    for (const [name, seconds] of [...sums].sort(order)) {
      stages.append(
        element(
          "li",
          { class: name === response.slowest ? "slowest" : null },
          element("span", { class: `dot ${stageClass(name)}`, "aria-hidden": "true" }),
          `${words(name)} ${duration(seconds)}`,
        ),
      );
    }
    const more = [];
    if (response.answer_latency !== null) more.push(`the answer itself after ${duration(response.answer_latency)}`);
    if (response.caller_gap !== null) more.push(`${duration(response.caller_gap)} at the caller’s ear`);
    const made = element("div", { class: "response" }, badge, bar, stages);
    if (more.length) made.append(element("p", { class: "soft" }, more.join(" · ")));
    return made;
  }
}
