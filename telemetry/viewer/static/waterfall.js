// Spans as a tree, and when each was: only the rows in view are elements. A treegrid of one focus:
// arrows move, left and right fold and unfold, Enter selects.

import { duration } from "./axis.js";
import { element, stageClass } from "./dom.js";

const ROW = 28; // pixels, as in the style sheet
const ABOVE = 12; // rows out of view that are there nevertheless
const STAGE = "conversation.response.";
const FAMILIES = [
  ["conversation", "turn"],
  ["user.", "caller"],
  ["caller", "caller"],
  ["turn.", "stt"],
  ["stt.", "stt"],
  ["gen_ai.execute_tool", "tool"],
  ["gen_ai.", "llm"],
  ["model.", "llm"],
  ["tts.", "tts"],
  ["agent.", "tts"],
  ["http.", "http"],
  ["db.", "db"],
];

export class Waterfall {
  onSelect = () => {}; // a span, by its id; with the keyboard or not
  onPick = () => {}; // a moment: play from there

  #grid;
  #rows;
  #axis;
  #spans = [];
  #visible = []; // places of the rows that aren't folded away
  #folded = new Set(); // ids
  #active = 0; // place among the visible
  #selected = null;
  #processes = [];
  #now = 0;
  #made = [];

  constructor(grid, axis) {
    this.#grid = grid;
    this.#axis = axis;
    this.#rows = element("div", { class: "rows", role: "rowgroup" });
    grid.replaceChildren(this.#rows);
    grid.addEventListener("scroll", () => this.draw());
    grid.addEventListener("keydown", (event) => this.#key(event));
    grid.addEventListener("click", (event) => this.#clicked(event));
    axis.onChange(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(grid);
  }

  show({ spans, processes }, live) {
    this.#spans = spans.map((row, place) => ({ ...row, key: row.id || `remark-${place}` }));
    this.#processes = processes;
    this.#unfold(live);
  }

  /** Open spans reach up to this moment. */
  reach(live) {
    this.live = live;
    if (this.#spans.some((row) => row.open)) this.draw();
  }

  move(moment) {
    this.#now = moment;
    const share = this.#axis.share(moment);
    this.#grid.style.setProperty("--head", share);
    this.#grid.classList.toggle("headless", share < 0 || share > 1);
    for (const [row, made] of this.#made) {
      made.classList.toggle("current", moment >= row.at && moment < this.#end(row));
    }
  }

  /** Mark a span as the one that is looked at, and have it in view. */
  select(id) {
    this.#selected = id;
    const place = this.#spans.findIndex((row) => row.id === id);
    if (place < 0) return null;
    let depth = this.#spans[place].depth;
    for (let above = place - 1; above >= 0 && depth > 0; above--) {
      if (this.#spans[above].depth >= depth) continue;
      depth = this.#spans[above].depth;
      this.#folded.delete(this.#spans[above].key);
    }
    this.#unfold(this.live);
    this.#active = this.#visible.indexOf(place);
    this.#inView(this.#grid.clientHeight / 2);
    this.draw();
    return this.#spans[place];
  }

  foldAll(folded) {
    this.#folded = new Set(folded ? this.#spans.filter((row) => row.below && row.depth > 2).map((row) => row.key) : []);
    this.#unfold(this.live);
  }

  #unfold(live) {
    this.live = live;
    this.#visible = [];
    for (let place = 0; place < this.#spans.length; place++) {
      this.#visible.push(place);
      if (this.#folded.has(this.#spans[place].key)) place += this.#spans[place].below;
    }
    this.#active = Math.max(0, Math.min(this.#active, this.#visible.length - 1));
    this.#rows.style.height = `${this.#visible.length * ROW}px`;
    this.#grid.setAttribute("aria-rowcount", this.#visible.length);
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.#grid.scrollTop / ROW) - ABOVE);
    const last = Math.min(
      this.#visible.length,
      Math.ceil((this.#grid.scrollTop + this.#grid.clientHeight) / ROW) + ABOVE,
    );
    this.#made = [];
    for (let n = first; n < last; n++) {
      const row = this.#spans[this.#visible[n]];
      this.#made.push([row, this.#row(row, n)]);
    }
    this.#rows.replaceChildren(...this.#made.map(([, made]) => made));
    if (this.#made.length) {
      const shown = this.#active >= first && this.#active < last;
      if (shown) this.#grid.setAttribute("aria-activedescendant", `row-${this.#active}`);
      else this.#grid.removeAttribute("aria-activedescendant");
    }
    this.move(this.#now);
  }

  #end(row) {
    return row.open ? Math.max(row.until, this.live ?? row.until) : row.until;
  }

  #row(row, n) {
    const folded = this.#folded.has(row.key);
    const made = element(
      "div",
      {
        id: `row-${n}`,
        role: "row",
        class: `row${row.failed || row.errors ? " failed" : ""}${n === this.#active ? " active" : ""}`,
        "aria-level": row.depth + 1,
        "aria-rowindex": n + 1,
        "aria-selected": row.id && row.id === this.#selected ? "true" : "false",
        "aria-expanded": row.below ? String(!folded) : null,
        "data-n": n,
      },
      this.#name(row, folded),
      this.#bar(row),
    );
    made.style.top = `${n * ROW}px`;
    return made;
  }

  #name(row, folded) {
    const cell = element("div", { class: "name", role: "gridcell" });
    cell.style.setProperty("--depth", Math.min(row.depth, 14));
    cell.append(
      element("span", { class: row.below ? "fold" : "leaf", "aria-hidden": "true" }, row.below ? (folded ? "▸" : "▾") : ""),
    );
    if (!row.id) cell.append(element("em", {}, row.label));
    else cell.append(element("span", { class: "op" }, row.op), " ", element("span", { class: "what" }, row.label));
    if (this.#processes.length > 1 && row.process > 0) {
      const { name, op } = this.#processes[row.process];
      cell.append(element("span", { class: "process", title: `${op} ${name}` }, `${row.process + 1}`));
    }
    if (row.facts) cell.append(" ", element("span", { class: "facts-of" }, row.facts));
    return cell;
  }

  #bar(row) {
    const cell = element("div", { class: "bar", role: "gridcell" });
    if (!row.id) return cell;
    const end = this.#end(row);
    const [from, to] = [this.#axis.share(row.at), this.#axis.share(end)];
    const text = row.open ? `${duration(Math.max(0, end - row.at))}…` : duration(Math.max(0, end - row.at));
    if (to < 0 || from > 1) {
      const side = element("span", { class: to < 0 ? "beyond before" : "beyond after" }, to < 0 ? `‹ ${text}` : `${text} ›`);
      cell.append(side);
      return cell;
    }
    const [left, right] = [Math.max(0, from), Math.min(1, to)];
    const bar = element("span", { class: `span ${family(row.op)}${row.open ? " open" : ""}` });
    bar.style.left = `${100 * left}%`;
    bar.style.width = `${100 * Math.max(0, right - left)}%`;
    const told = element("span", { class: "took" }, text);
    if (right > 0.86 && left < 0.14) told.classList.add("inside");
    else if (right > 0.86) told.style.right = `calc(${100 * (1 - left)}% + 6px)`;
    else told.style.left = `calc(${100 * right}% + 6px)`;
    cell.append(bar, told);
    return cell;
  }

  // -- choosing -------------------------------------------------------------------------------

  #clicked(event) {
    const made = event.target.closest("[data-n]");
    if (!made) return;
    this.#active = Number(made.dataset.n);
    const row = this.#spans[this.#visible[this.#active]];
    const bar = event.target.closest(".bar");
    const { left, width } = made.querySelector(".bar").getBoundingClientRect();
    const moment = this.#axis.at + ((event.clientX - left) / width) * this.#axis.length;
    if (event.target.closest(".fold")) this.#fold(row, !this.#folded.has(row.key));
    else if (row.id) this.#choose(row, false);
    if (bar && row.id) this.onPick(moment);
  }

  #choose(row, byKey) {
    this.#selected = row.id;
    this.draw();
    this.onSelect(row.id, byKey);
  }

  #fold(row, folded) {
    if (folded) this.#folded.add(row.key);
    else this.#folded.delete(row.key);
    this.#unfold(this.live);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.#spans[this.#visible[this.#active]];
    if (!row) return;
    const folded = this.#folded.has(row.key);
    switch (event.key) {
      case "ArrowDown":
        this.#activate(this.#active + 1);
        break;
      case "ArrowUp":
        this.#activate(this.#active - 1);
        break;
      case "Home":
        this.#activate(0);
        break;
      case "End":
        this.#activate(this.#visible.length - 1);
        break;
      case "ArrowRight":
        if (row.below && folded) this.#fold(row, false);
        else if (row.below) this.#activate(this.#active + 1);
        break;
      case "ArrowLeft":
        if (row.below && !folded) this.#fold(row, true);
        else this.#activate(this.#above(this.#active));
        break;
      case "Enter":
        if (row.id) this.#choose(row, true);
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #above(n) {
    const { depth } = this.#spans[this.#visible[n]];
    let above = n;
    while (above > 0 && this.#spans[this.#visible[above]].depth >= depth) above--;
    return above;
  }

  #activate(n) {
    this.#active = Math.max(0, Math.min(n, this.#visible.length - 1));
    this.#inView();
    this.draw();
  }

  /** Have the active row in view; if it wasn't, with so many pixels around it. */
  #inView(room = 0) {
    const top = this.#active * ROW;
    const { scrollTop, clientHeight } = this.#grid;
    if (top < scrollTop) this.#grid.scrollTop = top - room;
    else if (top + ROW > scrollTop + clientHeight) this.#grid.scrollTop = top + ROW + room - clientHeight;
  }
}

function family(op) {
  if (op.startsWith(STAGE)) return stageClass(op.slice(STAGE.length));
  const found = FAMILIES.find(([start]) => op.startsWith(start));
  return found ? `of-${found[1]}` : "of-other";
}
