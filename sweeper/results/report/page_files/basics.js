// What all parts of a report's script share: the data, elements, and numbers as people read them.
const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.trials.columns;
const byName = new Map(columns.map((column) => [column.name, column]));
const keys = byName.get("key").values;
const rowOf = new Map(keys.map((key, row) => [key, row]));
const members = new Set(data.trials.members);
const settings = byName.get("setting_key").values, tasks = byName.get("task").values;

const $ = (id) => document.getElementById(id);

// Texts of users enter the page here and in the attributes set beside it: as text, never as HTML.
const made = (tag, text, parent) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};

const worded = (value) => {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 1000) return Math.round(value).toLocaleString("en");
  return size < 0.001 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(+value.toPrecision(4));
};

const arrows = { maximize: " ↑", minimize: " ↓" };
