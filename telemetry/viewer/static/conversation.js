// One conversation: seen, heard and gone through. What is drawn comes as one document, which is
// asked for again while the call is live; in an exported file it is in the page.

import { Axis, clock, duration } from "./axis.js";
import { Details } from "./details.js";
import { element } from "./dom.js";
import { Keys } from "./keys.js";
import { Player } from "./player.js";
import { Strip } from "./strip.js";
import { Transcript } from "./transcript.js";
import { Waterfall } from "./waterfall.js";

const POLL = 500; // milliseconds
const LISTEN = 5000; // milliseconds at least between two looks at a recording that grows
const SHARE = 20; // and so many times as long as the last one took
const AFTER = 10_000; // milliseconds in which the end of a recording may come after a call's
const STILL = 60; // seconds without news after which a live call's end is not drawn any further
const READABLE = 36; // pixels a second at which words can be read, at first
const part = (id) => document.getElementById(id);

class Page {
  #held;
  #base;
  #axis = new Axis();
  #player = new Player(part("tracks"));
  #strip = new Strip(part("strip"), this.#axis);
  #waterfall = new Waterfall(part("waterfall"), this.#axis);
  #transcript = new Transcript(part("turns"));
  #details;
  #document = null;
  #peaks = [];
  #tag = "";
  #received = 0; // when the document came, on performance's clock
  #selected = null;

  constructor(held, base) {
    this.#held = held;
    this.#base = base;
  }

  async start() {
    const first = this.#held ? this.#held.document : await this.#fetched();
    this.#details = new Details(part("details"), (id) => this.#span(id), first.started_at);
    this.#wire();
    this.#show(first);
    const { low, high } = this.#axis;
    this.#axis.show(low, Math.min(high, low + part("strip").clientWidth / READABLE));
    this.#restore();
    if (this.#held) {
      this.#peaks = this.#held.tracks.map(({ peaks }) => peaks);
      this.#strip.show(this.#document, this.#peaks);
    } else {
      await this.#hear();
      setInterval(() => this.#poll(), POLL);
    }
    part("conversation").dataset.ready = "true";
  }

  // -- what there is --------------------------------------------------------------------------

  async #fetched() {
    const answer = await fetch(`${this.#base}/document.json`, {
      cache: "no-store",
      headers: this.#tag ? { "If-None-Match": this.#tag } : {},
    });
    this.#tag = answer.headers.get("ETag") ?? this.#tag;
    if (answer.status === 304) return null;
    if (!answer.ok) throw new Error(`the viewer answered with ${answer.status}`);
    return answer.json();
  }

  async #span(id) {
    if (this.#held) return this.#held.details[id];
    const answer = await fetch(`${this.#base}/spans/${encodeURIComponent(id)}.json`);
    if (!answer.ok) throw new Error(`the viewer answered with ${answer.status}`);
    return answer.json();
  }

  #asking = false;
  #watched = 0; // until then, on performance's clock

  async #poll() {
    if (this.#document.live) this.#grow();
    if (this.#document.live) this.#watched = performance.now() + AFTER;
    if (performance.now() > this.#watched || document.hidden || this.#asking) return;
    this.#asking = true;
    try {
      const news = await this.#fetched();
      if (news) {
        const grown = JSON.stringify(news.tracks) !== JSON.stringify(this.#document.tracks);
        this.#grown ||= grown;
        this.#show(news);
      }
      if (this.#grown && (!this.#document.live || performance.now() > this.#hearAgain)) {
        await this.#hear();
      }
    } catch {
      // the viewer is gone, or comes back
    } finally {
      this.#asking = false;
    }
  }

  #grown = false; // a recording has more than was drawn
  #hearAgain = 0; // on performance's clock

  /** Fetch the waveforms; then words stand where they can be heard. */
  async #hear() {
    const began = performance.now();
    this.#grown = false;
    this.#peaks = await Promise.all(
      this.#document.tracks.map(async (_, number) => {
        const answer = await fetch(`${this.#base}/peaks.json?track=${number}`);
        return answer.ok ? answer.json() : null;
      }),
    );
    this.#hearAgain = performance.now() + Math.max(LISTEN, SHARE * (performance.now() - began));
    const placed = this.#document.tracks.length ? await this.#again() : null;
    if (placed) this.#show(placed);
    else this.#strip.show(this.#document, this.#peaks);
  }

  #again() {
    this.#tag = "";
    return this.#fetched();
  }

  #show(news) {
    this.#document = news;
    this.#received = performance.now();
    this.#player.load(news.tracks.map((track, number) => ({ ...track, source: this.#source(track, number) })).filter(({ source }) => source));
    this.#strip.show(news, this.#peaks);
    this.#transcript.show(news);
    this.#waterfall.show(news, this.#live());
    this.#grow();
    this.#figures();
    this.#controls();
    this.#move();
  }

  #source({ version }, number) {
    if (this.#held) return this.#held.tracks[number].audio;
    return `${this.#base}/audio?track=${number}&v=${encodeURIComponent(version)}`;
  }

  /** The moment up to which a live call has come. */
  #live() {
    const { live, now, seconds } = this.#document;
    if (!live) return seconds;
    const passed = now + (performance.now() - this.#received) / 1000;
    return this.#held || passed - seconds > STILL ? seconds : Math.max(seconds, passed);
  }

  #grow() {
    const [low, high] = this.#document.axis;
    const live = this.#live();
    this.#axis.reach(low, Math.max(high, live));
    this.#waterfall.reach(live);
    part("length").textContent = clock(live);
  }

  // -- what is done ---------------------------------------------------------------------------

  #wire() {
    const player = this.#player;
    player.onMove = () => this.#move();
    player.onState = () => this.#controls();
    player.onSet = () => this.#remember();
    for (const each of [this.#strip, this.#transcript, this.#waterfall]) {
      each.onPick = (moment) => this.#pick(moment);
      each.onSelect = (id, byKey) => this.#select(id, { focus: byKey, reveal: each !== this.#waterfall });
    }
    this.#details.onClose = () => {
      this.#selected = null;
      this.#waterfall.select(null);
      this.#remember();
      part("waterfall").focus({ preventScroll: true });
    };
    const actions = {
      " ": () => player.toggle(),
      k: () => player.toggle(),
      n: () => this.#turn(1),
      p: () => this.#turn(-1),
      e: () => this.#problem(),
      "+": () => this.#axis.zoom(1.6, player.now),
      "=": () => this.#axis.zoom(1.6, player.now),
      "-": () => this.#axis.zoom(1 / 1.6, player.now),
      0: () => this.#axis.all(),
      ArrowLeft: () => player.set(player.now - 2),
      ArrowRight: () => player.set(player.now + 2),
      "?": () => part("help").showModal(),
    };
    new Keys(document, actions, part("help"));
    const buttons = { play: " ", previous: "p", next: "n", problem: "e", closer: "+", wider: "-", all: "0", keys: "?" };
    for (const [id, key] of Object.entries(buttons)) part(id).addEventListener("click", actions[key]);
    part("fold").addEventListener("click", () => this.#fold());
    addEventListener("hashchange", () => this.#restore());
  }

  #pick(moment) {
    this.#player.set(moment, { play: true });
  }

  #select(id, { focus = false, reveal = true } = {}) {
    this.#selected = id;
    const row = this.#waterfall.select(id);
    if (!row) return;
    if (reveal) this.#axis.reveal(row.at, row.until);
    this.#details.show(id, focus);
    this.#remember();
  }

  #turn(way) {
    const starts = this.#document.turns.map((turn) => turn.speeches[0]?.words[0]?.at ?? turn.at);
    const { now } = this.#player;
    const found = way > 0 ? starts.find((at) => at > now + 0.05) : starts.findLast((at) => at < now - 0.3);
    if (found !== undefined) this.#go(found);
  }

  #problem() {
    const { problems } = this.#document;
    if (!problems.length) return;
    const { now } = this.#player;
    const next = problems.find(({ at }) => at > now + 0.05) ?? problems[0];
    this.#go(next.at);
    part("told").textContent = `${clock(next.at, 1)}: ${next.text}`;
    if (next.span) this.#select(next.span, { reveal: false });
  }

  #go(moment) {
    this.#player.set(moment);
    this.#axis.follow(moment);
  }

  #folded = false;

  #fold() {
    this.#folded = !this.#folded;
    this.#waterfall.foldAll(this.#folded);
    part("fold").textContent = this.#folded ? "Unfold" : "Fold";
  }

  // -- what is shown --------------------------------------------------------------------------

  #move() {
    const { now, playing } = this.#player;
    if (playing) this.#axis.follow(now);
    this.#strip.move(now);
    this.#transcript.move(now);
    this.#waterfall.move(now);
    part("time").textContent = clock(now, 1);
  }

  #controls() {
    const { available, playing } = this.#player;
    const play = part("play");
    play.disabled = !available;
    play.textContent = playing ? "❚❚ Pause" : "▶ Play";
    part("silent").hidden = available;
    part("problem").disabled = !this.#document.problems.length;
    part("problem").textContent = `Next problem (${this.#document.problems.length})`;
  }

  #figures() {
    const { facts, outcome, status, live } = this.#document;
    const values = {
      outcome: live ? "running" : (outcome ?? status),
      turns: facts.turns,
      interruptions: facts.interruptions,
      errors: facts.errors,
      p50: facts.latency_p50 === null ? "–" : duration(facts.latency_p50),
      p95: facts.latency_p95 === null ? "–" : duration(facts.latency_p95),
    };
    for (const [name, value] of Object.entries(values)) {
      const shown = part(`fact-${name}`);
      if (shown.textContent !== String(value)) shown.replaceChildren(element("span", {}, value));
    }
    part("conversation").dataset.live = String(live);
  }

  // -- the address ----------------------------------------------------------------------------

  #remember() {
    const parts = [`t=${this.#player.now.toFixed(2)}`];
    if (this.#selected) parts.push(`span=${encodeURIComponent(this.#selected)}`);
    history.replaceState(null, "", `#${parts.join("&")}`);
  }

  #restore() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const moment = Number(asked.get("t"));
    const span = asked.get("span");
    if (asked.has("t") && Number.isFinite(moment)) this.#go(moment);
    if (span && span !== this.#selected) this.#select(span, { reveal: !asked.has("t") });
  }
}

const held = part("held");
const page = new Page(held ? JSON.parse(held.textContent) : null, part("conversation").dataset.base);
page.start().catch((error) => {
  part("told").textContent = `This conversation can’t be drawn: ${error.message}`;
  part("told").classList.add("failure");
});
