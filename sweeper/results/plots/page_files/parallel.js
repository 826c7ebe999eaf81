// Lets the reader of a page choose lines along parallel axes, and move the axes. The figure is the one of parallel.py: its
// first trace is for the lines that are not chosen, the next ones hold lines by colour, each with its keys in `meta`.
// `changed` is called with the keys of the chosen lines, or with null where all are.
const chooseAlong = (plot, changed) => {
  const NEAR = 22, STILL = 4; // pixels: from an axis, and what is no drag yet
  const names = plot.layout.meta.parallel, count = names.length;
  const groups = plot.data.map((trace, at) => ({ trace, at })).filter(({ trace }) => trace.meta && trace.meta.keys);
  const lines = groups.flatMap(({ trace, at }) =>
    trace.meta.keys.map((key, nth) => ({ key, at, heights: trace.y.slice(nth * (count + 1), nth * (count + 1) + count) })));
  const words = plot.layout.annotations.map((word) => ({ ...word })), dots = plot.data.findIndex((trace) => trace.customdata);
  const dotted = dots >= 0 ? plot.data[dots].x[0] : -1;
  const lower = words.filter((word) => word.name).map((word) => word.yshift);
  const uprights = plot.layout.shapes.map((shape) => ({ ...shape }));
  let order = [...names.keys()]; // the axis that stands at each place
  const chosen = new Map(); // axis -> its part, from and to
  let drag = null;

  const isChosen = (line) => [...chosen].every(([side, [low, high]]) => line.heights[side] >= low && line.heights[side] <= high);
  const draw = () => {
    const placeOf = order.map((_, side) => order.indexOf(side));
    const x = groups.map(() => []), y = groups.map(() => []), kept = [];
    for (const line of lines) {
      const fits = isChosen(line), to = fits ? groups.findIndex(({ at }) => at === line.at) : 0;
      if (fits) kept.push(line.key);
      order.forEach((side, place) => { x[to].push(place); y[to].push(line.heights[side]); });
      x[to].push(null);
      y[to].push(null);
    }
    const at = groups.map((group) => group.at);
    if (dots >= 0) {
      x.push(plot.data[dots].x.map(() => placeOf[dotted]));
      y.push([...plot.data[dots].y]);
      at.push(dots);
    }
    const bars = [...chosen].map(([side, [low, high]]) => ({
      type: "rect", xsizemode: "pixel", xanchor: placeOf[side], x0: -6, x1: 6, y0: low, y1: high, layer: "above",
      fillcolor: "#56B4E9", opacity: 0.5, line: { width: 0 },
    }));
    const moved = words.map((word) => (word.xref === "paper" ? word : { ...word, x: placeOf[word.x] }));
    // Names stand at several levels where they are crowded: that is so of places, not of axes.
    for (const word of moved) if (word.name) word.yshift = lower[word.x];
    Plotly.update(plot, { x, y }, { shapes: [...uprights, ...bars], annotations: moved }, at);
    return kept;
  };
  const tell = (kept) => changed(chosen.size ? kept : null);

  // Where an event is: the nearest place of an axis, how far from it, its height on the axis, and pixels below the axes.
  const where = (event) => {
    const box = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout;
    const x = event.clientX - box.left - xaxis._offset, y = event.clientY - box.top - yaxis._offset;
    const place = Math.min(count - 1, Math.max(0, Math.round(xaxis.p2l(x))));
    const height = Math.min(1, Math.max(0, yaxis.p2l(y)));
    return { place, away: Math.abs(xaxis.l2p(place) - x), height, below: y - yaxis._length, above: -y };
  };
  plot.style.touchAction = "none";
  plot.style.userSelect = "none";
  // While a button is down plotly lays a cover over the page, so that the picture itself hears nothing.
  document.addEventListener("pointermove", (event) => {
    if (drag === null && !plot.contains(event.target)) return;
    const at = where(event);
    if (drag === null) {
      const isOn = at.away <= NEAR && at.below <= 8 && at.above <= 8;
      plot.style.cursor = isOn ? "ns-resize" : at.below > 8 && at.away <= 2 * NEAR ? "ew-resize" : "";
      return;
    }
    event.preventDefault();
    if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > STILL) {
      drag.moved = true;
      plot.setPointerCapture(event.pointerId); // a click stays with the dot that it is on, a drag with the picture
    }
    if (!drag.moved || drag.isName || drag.waits) return;
    drag.waits = true;
    requestAnimationFrame(() => {
      if (drag === null) return;
      drag.waits = false;
      chosen.set(drag.side, [Math.min(drag.height, at.height), Math.max(drag.height, at.height)]);
      draw();
    });
  });
  plot.addEventListener("pointerdown", (event) => {
    const at = where(event), isName = at.below > 8;
    if (event.button !== 0 || at.above > 8 || at.away > (isName ? 2 : 1) * NEAR) return;
    drag = { side: order[at.place], isName, height: at.height, x: event.clientX, y: event.clientY, moved: false };
  });
  document.addEventListener("pointerup", (event) => {
    if (drag === null) return;
    const { side, isName, moved, height } = drag, at = where(event);
    drag = null;
    if (isName) {
      if (!moved) return;
      order = order.filter((one) => one !== side);
      order.splice(at.place, 0, side);
      draw();
      return;
    }
    if (moved) chosen.set(side, [Math.min(height, at.height), Math.max(height, at.height)]);
    else if (!(plot._hoverdata || []).length && chosen.has(side)) chosen.delete(side);
    else return; // a click on a dot is the dot's
    tell(draw());
  });
  document.addEventListener("pointercancel", () => { drag = null; });
  return () => { // takes every choice back
    chosen.clear();
    tell(draw());
  };
};
