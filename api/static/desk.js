// What the pages do with a script: tables are sorted by their heads, and progress is shown as it
// comes. Everything else works without.
"use strict";

const FINAL = new Set(["succeeded", "failed", "cancelled"]);
const EVENTS = ["queued", "started", "validated", "committing", "cancelling", "needs_review", "accepted", "certified", "requeued", "lost", "cancel_requested", ...FINAL];

function sortable(table) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  if (table.tHead.rows.length > 1 || heads.some((head) => head.colSpan > 1)) return;
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
        rows.sort(([a], [b]) => (up ? 1 : -1) * compare(a, b));
        body.append(...rows.map(([, row]) => row));
      }
    });
  });
}

function key(cell) {
  const text = cell ? (cell.dataset.sort ?? cell.textContent).trim() : "";
  const plain = text.replace(/[\u2212]/g, "-").replace(/[$,%\s]/g, "");
  const scaled = plain.match(/^([+-]?\d*\.?\d+)(bn|m|k)?/);
  if (!scaled || !/^[+\-\d.]/.test(plain)) return text.toLowerCase();
  return Number(scaled[1]) * ({ bn: 1e9, m: 1e6, k: 1e3 }[scaled[2]] ?? 1);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function follow(mark, left) {
  const stream = new EventSource(`${mark.dataset.run}/events`);
  stream.addEventListener("progress", (event) => {
    const said = JSON.parse(event.data);
    let bar = mark.parentElement.querySelector("progress");
    let words = mark.parentElement.querySelector(".done");
    if (!bar) {
      bar = document.createElement("progress");
      bar.setAttribute("aria-label", "Shards measured");
      words = document.createElement("span");
      words.className = "done";
      mark.after(" ", bar, " ", words);
    }
    bar.max = said.shards_total;
    bar.value = said.shards_done;
    words.textContent = `${said.shards_done} of ${said.shards_total}`;
  });
  const moved = (event) => {
    const state = JSON.parse(event.data).to_state;
    if (!state) return;
    mark.textContent = state.replace("_", " ");
    mark.className = `state ${state}`;
    if (FINAL.has(state) || state === "needs_review") {
      stream.close();
      if (state !== mark.dataset.state) left();
    }
  };
  EVENTS.forEach((kind) => stream.addEventListener(kind, moved));
  stream.onmessage = moved;
}

function reload() {
  const here = new URL(location.href);
  here.searchParams.set("live", "1");
  location.replace(here);
}

document.querySelectorAll("table.sortable, [aria-label='Settlement table'] table").forEach(sortable);
const marks = [...document.querySelectorAll("[data-run]")];
// a browser opens six connections to one host: the newest runs are followed, others by reloading
marks.slice(0, 3).forEach((mark) => {
  mark.dataset.state = mark.classList[1];
  follow(mark, () => setTimeout(reload, 300));
});
if (marks.length > 3) setTimeout(reload, 15000);
const later = document.querySelector("[data-reload]");
if (later) setTimeout(reload, Number(later.dataset.reload));
