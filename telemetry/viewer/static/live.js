// Keeps the list as new as the calls: asks for its rows while somebody looks, and changes what changed.

const live = document.getElementById("live");
const EVERY_MS = 500;
let last = null;

function put(text) {
  const found = document.createElement("div");
  found.innerHTML = text; // ours: everything in it was escaped where it was made
  const before = live.querySelector("tbody");
  const after = found.querySelector("tbody");
  if (!before || !after) {
    live.replaceChildren(...found.childNodes);
    return;
  }
  for (const name of ["#count", "nav.turns"]) {
    const old = live.querySelector(name);
    const fresh = found.querySelector(name);
    if (old && fresh && old.innerHTML !== fresh.innerHTML) old.replaceChildren(...fresh.childNodes);
  }
  const known = new Map([...before.rows].map((row) => [row.id, row]));
  let at = before.firstElementChild;
  for (const row of [...after.rows]) {
    let kept = known.get(row.id);
    known.delete(row.id);
    if (!kept) {
      kept = row;
    } else if (kept.innerHTML !== row.innerHTML || kept.className !== row.className) {
      const focused = kept.contains(document.activeElement);
      kept.className = row.className;
      [...row.cells].forEach((cell, number) => {
        const old = kept.cells[number];
        if (old.outerHTML !== cell.outerHTML) old.replaceWith(cell.cloneNode(true));
      });
      if (focused) kept.querySelector("a")?.focus();
    }
    if (kept === at) at = at.nextElementSibling;
    else before.insertBefore(kept, at);
  }
  for (const gone of known.values()) gone.remove();
}

async function look() {
  const began = performance.now();
  if (!document.hidden) {
    try {
      const answer = await fetch(live.dataset.rows, { cache: "no-store" });
      const text = await answer.text();
      if (answer.ok && text !== last) put(text);
      if (answer.ok) last = text;
    } catch {
      // the viewer is away; the next look may find it again
    }
  }
  setTimeout(look, Math.max(EVERY_MS, 4 * (performance.now() - began)));
}

document.addEventListener("visibilitychange", () => { last = null; });
setTimeout(look, EVERY_MS);
