// Sorts the table of runs, and shows the line of a run in every chart when one points at it.
// Without this script the page shows everything too.
"use strict";

document.documentElement.classList.add("js");

function show(number, on) {
  for (const part of document.querySelectorAll(`[data-run="${number}"]`)) {
    part.classList.toggle("on", on);
  }
}

for (const part of document.querySelectorAll("[data-run]")) {
  part.addEventListener("pointerenter", () => show(part.dataset.run, true));
  part.addEventListener("pointerleave", () => show(part.dataset.run, false));
}
