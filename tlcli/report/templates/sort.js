
// Makes the headings of tables of the class `sortable` sort their rows.
// Sorts by number in columns of numbers, else by text; cells without a number come last.
function sort(table, column, descending) {
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const numeric = "value" in body.rows[0].cells[column].dataset;
  const compare = (first, second) => {
    const [a, b] = [value(first), value(second)];
    if (numeric && (a === "" || b === "")) return (a === "") - (b === "");
    const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -order : order;
  };
  body.append(...[...body.rows].sort(compare));
}

for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // The first click sorts names from A, and scores from the lowest, which are of most interest.
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}
