// The sliders along fronts: each shows the network under it, what was measured of it and what made it, and rings its dot.
const RING = "#D55E00";

// Rings the dot of a network in a flat picture.
const ring = (plot, key) => {
  if (!plot || !plot.dataset.drawn) return;
  const old = plot.data.findIndex((trace) => trace.meta === "along");
  const place = placesOf(plot).find((one) => one.key === key), of = place && plot.data[place.curveNumber];
  const x = place ? [of.x[place.pointNumber]] : [], y = place ? [of.y[place.pointNumber]] : [];
  if (old >= 0) Plotly.restyle(plot, { x: [x], y: [y] }, [old]);
  else {
    const marker = { size: 19, symbol: "circle-open", color: RING, line: { width: 3 } };
    Plotly.addTraces(plot, { type: "scatter", mode: "markers", meta: "along", x, y, marker, hoverinfo: "skip", showlegend: false });
  }
};

for (const box of document.querySelectorAll(".along")) {
  const range = box.querySelector("input"), shown = box.querySelector(".shown");
  const plot = box.closest(".first").querySelector(".plot");
  const along = range.dataset.keys.split(" ");
  const goals = columns.filter((column) => column.goal);
  const key = () => along[Number(range.value)];
  const said = (name) => {
    const point = data.points[key()];
    return worded(point && name in point.means ? point.means[name] : byName.get(name).values[rowOf.get(key())]);
  };
  const step = () => {
    shown.replaceChildren();
    if (!rowOf.has(key())) return void made("p", `Trial ${key()} is on the front, but not in the table of trials yet.`, shown);
    const head = made("p", `${Number(range.value) + 1} of ${along.length}: `, shown);
    made("strong", key(), head);
    const drawing = (data.networks[key()] || {}).svg;
    if (drawing) made("div", undefined, shown).innerHTML = drawing; // sweeper's own SVG, without any words of users
    else if (key() in data.networks) made("p", sentenceOf(key()), shown).className = "soft";
    const list = made("dl", undefined, shown);
    for (const [title, text] of numbersOf(key()).filter(([name]) => name !== "task")) {
      const pair = made("div", undefined, list);
      made("dt", title, pair);
      made("dd", text, pair);
    }
    range.setAttribute("aria-valuetext", goals.map((column) => `${column.title} ${said(column.name)}`).join(", "));
    ring(plot, key());
  };
  range.oninput = step;
  whenKept.push((kept) => {
    const at = along.indexOf(kept);
    if (at < 0 || at === Number(range.value)) return;
    range.value = at;
    step();
  });
  if (plot) {
    const drawn = new MutationObserver(() => ring(plot, key()));
    drawn.observe(plot, { attributes: true, attributeFilter: ["data-drawn"] });
  }
  step();
}
