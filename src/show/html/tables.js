// Sorts the rows of a table by the column whose title is clicked: numbers from the greatest on, words from A on, and the
// other way round after a second click.

const UNITS = {
  ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, "%": 1, k: 1e3, M: 1e6, G: 1e9,
};

// A cell without a number comes last.
function numberOf(cell) {
  const found = /^(-?[\d.]+)(?:\s*([a-zA-Z%]+))?/.exec(cell.textContent.trim());
  return found ? Number(found[1]) * (UNITS[found[2]] || 1) : -Infinity;
}

function sort(table, column, title) {
  const now = title.getAttribute("aria-sort"), ascending = isNumber(title) ? now === "descending" : now !== "ascending";
  const order = (one, other) => {
    const [a, b] = [one, other].map((row) => row.cells[column]);
    const up = isNumber(title) ? numberOf(a) - numberOf(b) : a.textContent.localeCompare(b.textContent);
    return ascending ? up : -up;
  };
  for (const one of table.tHead.rows[0].cells) one.setAttribute("aria-sort", "none");
  title.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
}

function isNumber(title) { return title.classList.contains("number"); }

function makeSortable(table) {
  if (table.tBodies[0].rows.length < 2) return;
  [...table.tHead.rows[0].cells].forEach((title, column) => {
    if (!title.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...title.childNodes);
    title.append(button);
    title.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(table, column, title));
  });
}
