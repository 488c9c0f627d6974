// Opens the photos of a cell of the confusion matrix in place.
// Without this script the page shows everything too.
"use strict";

document.documentElement.classList.add("js");

const links = [...document.querySelectorAll(".matrix a")];
const cells = [...document.querySelectorAll(".cell")];

// Shows the photos of a cell. `moved` is false when the page opens: then nothing is announced.
function open(cell, moved = true) {
  for (const other of cells) other.classList.toggle("open", other === cell);
  for (const link of links) {
    const here = link.hash === `#${cell.id}`;
    // Tab stops at the open cell only; arrow keys move to the others.
    link.tabIndex = here ? 0 : -1;
    if (here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (moved) {
    const title = cell.querySelector("h3").textContent.replace(/\s+/g, " ").trim();
    document.getElementById("cell-status").textContent = `Showing ${title}`;
  }
}

function addressed() {
  const id = location.hash.slice(1);
  return cells.find((cell) => cell.id === id);
}

for (const link of links) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const cell = document.getElementById(link.hash.slice(1));
    open(cell);
    history.replaceState(null, "", link.hash);
    if (cell.getBoundingClientRect().top > innerHeight - 120) {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      cell.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
    }
  });
}

// The nearest number in the direction of an arrow key; those in the same row or column come first.
const directions = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function ahead(from, [down, across]) {
  const distance = (link) => {
    const rows = link.dataset.row - from.dataset.row;
    const columns = link.dataset.column - from.dataset.column;
    const along = rows * down + columns * across;
    const aside = Math.abs(rows * across) + Math.abs(columns * down);
    return along > 0 ? along + 1000 * aside : Infinity;
  };
  const best = links.reduce((near, other) => (distance(other) < distance(near) ? other : near));
  return distance(best) < Infinity ? best : from;
}

const matrix = document.querySelector(".matrix");
if (matrix) {
  matrix.addEventListener("keydown", (event) => {
    const from = event.target.closest("a");
    if (!from || !(event.key in directions)) return;
    event.preventDefault();
    const to = ahead(from, directions[event.key]);
    for (const link of links) link.tabIndex = link === to ? 0 : -1;
    to.focus();
  });
  if (cells.length) open(addressed() || cells[0], false);
  addEventListener("hashchange", () => {
    const cell = addressed();
    if (cell) open(cell);
  });
}
