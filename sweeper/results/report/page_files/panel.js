// The panel: the network and the numbers of the point under the mouse or the focus, or of the one that is kept.
const panel = $("panel");
let kept = null;
const whenKept = []; // called with the key, or null

const sentenceOf = (key) =>
  (data.networks[key] || {}).missing ||
  (members.has(key)
    ? "Networks are drawn for the first seed of a setting."
    : "MLflow keeps the networks of fronts; `sweeper show` draws this one where the sweep ran.");

const numbersOf = (key) => {
  const row = rowOf.get(key), point = data.points[key], found = [];
  for (const column of columns) {
    const value = point && column.name in point.means ? point.means[column.name] : column.values[row];
    if (["key", "outcome"].includes(column.name) || (point && column.name === "seed")) continue;
    if (value === null || value === "" || (!column.shown && column.name !== "reason")) continue;
    const spread = point && point.spreads[column.name];
    const unit = typeof value === "number" && !["count", "share"].includes(column.unit) ? ` ${column.unit}` : "";
    const around = typeof spread === "number" ? ` ± ${worded(spread)}` : "";
    found.push([column.title + (arrows[column.goal] || ""), worded(value) + around + unit]);
  }
  const walls = Object.entries(data.walls).filter(([name]) => byName.get(name).values[row]);
  if (walls.length) found.push(["limited in", walls.map(([, axis]) => axis).join(", ")]);
  if (point) found.push(["mean ± sd of", `${point.keys.length} seeds`]);
  return found;
};

const show = (key) => {
  if (!rowOf.has(key)) return;
  const outcome = byName.get("outcome").values[rowOf.get(key)];
  panel.replaceChildren();
  panel.hidden = false;
  const head = made("div", undefined, panel);
  head.className = "panel-head";
  made("strong", key, head);
  if (members.has(key)) made("span", "on the front", head).className = "badge";
  if (outcome !== "complete") made("span", outcome.replaceAll("_", " "), head).className = "badge bad";
  const close = made("button", "×", head);
  close.type = "button";
  close.setAttribute("aria-label", "Close");
  close.onclick = () => keep(null);
  const drawing = (data.networks[key] || {}).svg;
  if (drawing) {
    made("div", undefined, panel).innerHTML = drawing; // sweeper's own SVG, without any words of users
    made("p", "Steps to the right, layers upwards, channels into the page. Bars: share of answers after each step. ", panel).className = "soft";
    for (const kind of ["bottom-up", "lateral", "top-down"]) made("span", kind, panel.lastChild).className = `legend ${kind}`;
  } else made("p", sentenceOf(key), panel).className = "soft";
  const list = made("dl", undefined, panel);
  for (const [title, text] of numbersOf(key)) {
    made("dt", title, list);
    made("dd", text, list);
  }
  if (kept !== key) made("p", "Click or press Enter to keep this open.", panel).className = "soft";
};

const keep = (key) => {
  kept = key;
  for (const call of whenKept) call(key);
  if (key === null) panel.hidden = true;
  else show(key);
};
const toggle = (key) => keep(key === kept ? null : key);
const leave = () => {
  if (kept === null) panel.hidden = true;
  else show(kept);
};
// The panel must not cover what is pointed at.
const standAside = (x, y) => {
  panel.classList.toggle("left", x > window.innerWidth / 2);
  panel.classList.toggle("top", y > window.innerHeight / 2);
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !panel.hidden) keep(null);
});
