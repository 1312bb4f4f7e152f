"use strict";
// Sorts the table by the column whose heading is pressed; a second press turns the order round.
for (const heading of document.querySelectorAll("th[data-sorts]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const order = heading.ariaSort === "ascending" ? "descending" : "ascending";
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.ariaSort = order;
    const column = heading.cellIndex, body = heading.closest("table").tBodies[0];
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const rows = Array.from(body.rows, (row) => [key(row), row]);
    // What has no value goes last in either order.
    const compared = ([a], [b]) => (a === "" || b === "" ? (a === "") - (b === "")
      : (order === "ascending" ? 1 : -1) * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b));
    body.replaceChildren(...rows.sort(compared).map(([, row]) => row));
  });
}
