// The table of trials: sorted, filtered, and filled as far as it is scrolled, so that many rows cost nothing.
const CHUNK = 200;
const table = $("table"), body = table.tBodies[0], box = table.parentElement;
let order = [...keys.keys()], sorted = null, isDown = false;
let rows = [], filled = 0;

const visible = () => columns.filter((column) => column.shown);

const lineOf = (row, shown) => {
  const line = made("tr");
  line.dataset.key = keys[row];
  line.tabIndex = -1;
  if (members.has(keys[row])) line.classList.add("member");
  for (const column of shown) {
    const cell = made("td", worded(column.values[row]), line);
    if (column.kind === "number") cell.className = "number";
    if (column.name === "reason") cell.className = "prose";
  }
  return line;
};
const mark = () => {
  const row = kept === null ? -1 : rowOf.get(kept);
  for (const line of document.querySelectorAll("tr[data-key]")) {
    const other = rowOf.get(line.dataset.key);
    const isSame = row >= 0 && settings[other] === settings[row] && tasks[other] === tasks[row];
    line.classList.toggle("chosen", line.dataset.key === kept);
    line.classList.toggle("same", isSame && line.dataset.key !== kept);
    if (line.dataset.key === kept) line.setAttribute("aria-selected", "true");
    else line.removeAttribute("aria-selected");
  }
};
const grow = (to = filled + CHUNK) => {
  const shown = visible(), lines = document.createDocumentFragment();
  for (; filled < Math.min(to, rows.length); filled += 1) lines.append(lineOf(rows[filled], shown));
  body.append(lines);
  if (body.rows.length && !body.querySelector("[tabindex='0']")) body.rows[0].tabIndex = 0; // one stop for the whole table
  mark();
};
box.addEventListener("scroll", () => {
  if (filled < rows.length && box.scrollTop + 2 * box.clientHeight > box.scrollHeight) grow();
});

const sortBy = (column) => {
  isDown = sorted === column ? !isDown : column.goal === "maximize";
  sorted = column;
  const way = isDown ? -1 : 1, values = column.values, isEmpty = (value) => value === null || value === "";
  order = [...keys.keys()].sort((a, b) => {
    const x = values[a], y = values[b];
    if (isEmpty(x) || isEmpty(y)) return isEmpty(x) === isEmpty(y) ? a - b : isEmpty(x) ? 1 : -1;
    return x < y ? -way : x > y ? way : a - b;
  });
  heads();
  fill();
  table.querySelectorAll("th button")[visible().indexOf(column)].focus();
};
const heads = () => {
  const line = made("tr");
  for (const column of visible()) {
    const head = made("th", undefined, line);
    head.scope = "col";
    const button = made("button", column.title + (arrows[column.goal] || ""), head);
    button.type = "button";
    if (column.unit) made("small", column.unit, button);
    if (sorted === column) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    button.onclick = () => sortBy(column);
  }
  table.tHead.replaceChildren(line);
};

const said = (problem) => {
  $("problem").textContent = problem && `Cannot filter by this condition: ${problem}. All trials that match the search are shown.`;
  if (problem) $("condition").setAttribute("aria-invalid", "true");
  else $("condition").removeAttribute("aria-invalid");
};
const fill = () => {
  const word = $("search").value.trim().toLowerCase(), text = $("condition").value.trim();
  $("condition").dataset.asked = $("condition").value;
  let meets = () => true;
  try {
    if (text) meets = conditionOf(text);
    said("");
  } catch (error) {
    said(error.message);
  }
  const fits = (row) => !word || columns.some((column) => String(column.values[row] ?? "").toLowerCase().includes(word));
  rows = order.filter((row) => isChosen(keys[row]) && meets(row) && fits(row));
  filled = 0;
  body.replaceChildren();
  box.scrollTop = 0;
  grow();
  table.setAttribute("aria-rowcount", rows.length + 1);
  $("count").textContent = `${rows.length.toLocaleString("en")} of ${keys.length.toLocaleString("en")} trials · ● on the front`;
  if (!choices.size) return;
  $("count").append(" · chosen along the axes of a picture ");
  const reset = made("button", "Show all", $("count"));
  reset.type = "button";
  reset.onclick = () => whenReset.forEach((call) => call());
};
whenChosen.push(() => fill());

// A kept network's row is brought into sight within the table; the page itself stays where it is.
whenKept.push((key) => {
  const place = key === null ? -1 : rows.indexOf(rowOf.get(key));
  if (place >= filled) grow(place + CHUNK);
  mark();
  if (place < 0) return;
  const line = body.rows[place], top = line.offsetTop - table.tHead.offsetHeight;
  if (top < box.scrollTop || line.offsetTop + line.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - 40;
});

const lineAt = (event) => (event.target.closest ? event.target.closest("tr[data-key]") : null);
document.addEventListener("click", (event) => {
  const line = lineAt(event), named = event.target.closest("button[data-key]");
  if (line && window.getSelection().isCollapsed) toggle(line.dataset.key);
  if (named) keep(named.dataset.key);
});
document.addEventListener("keydown", (event) => {
  const line = lineAt(event);
  if (!line) return;
  const next = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
  if (event.key === "Enter" || event.key === " ") toggle(line.dataset.key);
  else if (next) {
    if (line.parentElement === body) {
      line.tabIndex = -1;
      next.tabIndex = 0;
    }
    next.focus();
  } else return;
  event.preventDefault();
});
document.addEventListener("focusin", (event) => {
  const line = lineAt(event);
  if (line && line.matches(":focus-visible")) show(line.dataset.key);
});
document.addEventListener("focusout", (event) => {
  if (lineAt(event)) leave();
});

for (const column of columns) {
  const label = made("label", undefined, $("columns").querySelector("div")), choice = made("input", undefined, label);
  choice.type = "checkbox";
  choice.checked = column.shown;
  choice.onchange = () => {
    column.shown = choice.checked;
    heads();
    fill();
  };
  label.append(column.title);
}
let waiting = 0;
for (const id of ["search", "condition"]) {
  $(id).oninput = () => {
    clearTimeout(waiting);
    waiting = setTimeout(fill, 120);
  };
}
heads();
fill();
