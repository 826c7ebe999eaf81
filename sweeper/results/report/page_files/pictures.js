// What readers choose along parallel axes, by picture; the table of trials shows what is chosen in any of them.
const choices = new Map(), whenReset = [], whenChosen = [];
const choose = (picture, some) => {
  if (some === null) choices.delete(picture);
  else choices.set(picture, new Set(some.flatMap((key) => (data.points[key] || { keys: [key] }).keys)));
  for (const call of whenChosen) call();
};
const isChosen = (key) => !choices.size || [...choices.values()].some((keys) => keys.has(key));

// The pictures: drawn when they come into sight, in the colours of the page, and their points answer to mouse and keys.
const root = document.documentElement;
const plots = [...document.querySelectorAll(".plot")];
const system = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
const theme = () => data.themes[isDark() ? 1 : 0];

const keyOf = (entry) => {
  const key = Array.isArray(entry) ? entry[0] : entry;
  return rowOf.has(key) ? key : null;
};
const pointed = (event) => keyOf((event.points && event.points[0] && event.points[0].customdata) || null);

// Returns the places of a picture's networks from left to right, each network once.
const placesOf = (plot) => {
  const found = new Map();
  plot.data.forEach((trace, curveNumber) => {
    if (trace.visible === false || trace.visible === "legendonly" || !Array.isArray(trace.customdata)) return;
    trace.customdata.forEach((entry, pointNumber) => {
      const key = keyOf(entry);
      if (key !== null) found.set(key, { key, curveNumber, pointNumber, x: trace.x ? trace.x[pointNumber] : 0 });
    });
  });
  return [...found.values()].sort((a, b) => a.x - b.x || a.curveNumber - b.curveNumber);
};

const answerKeys = (plot) => {
  let at = -1;
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const places = plot.dataset.drawn ? placesOf(plot) : [];
    if (!places.length || event.target !== plot) return;
    if (step) {
      at = (at + step + places.length + (at < 0 && step < 0 ? 1 : 0)) % places.length;
      const { key, curveNumber, pointNumber } = places[at], box = plot.getBoundingClientRect();
      if (kept === null) standAside(box.left + box.width / 2, box.top + box.height / 2);
      try {
        Plotly.Fx.hover(plot, [{ curveNumber, pointNumber }]);
      } catch {
        // pictures in space mark no point; the panel shows it all the same
      }
      show(key);
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) toggle(places[at % places.length].key);
    else return;
    event.preventDefault();
  });
  plot.addEventListener("blur", leave);
};

// A picture in space is drawn flat on paper, and where the browser has no WebGL; its caption says how that is read.
const hasWebGL = Boolean(document.createElement("canvas").getContext("webgl"));
let isPrinted = false;
const isInSpace = (plot) => plot.dataset.figure in data.flat;
const figureOf = (plot) => {
  const name = plot.dataset.figure, isFlat = isInSpace(plot) && (isPrinted || !hasWebGL);
  const caption = plot.closest("figure").querySelector("figcaption");
  if (isInSpace(plot)) {
    caption.dataset.caption ||= caption.textContent;
    caption.textContent = isFlat ? data.flat[name].caption : caption.dataset.caption;
  }
  return isFlat ? data.flat[name] : data.figures[name];
};

const drawPlot = (plot) => {
  const figure = figureOf(plot);
  const options = {
    responsive: true,
    displaylogo: false,
    // Plotly offers to upload a chart to its makers: what is in a report stays in it.
    showSendToCloud: false,
    plotlyServerURL: "",
    // Few enough to leave the legend free; a drag zooms, and a double click goes back.
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
  };
  const drawn = Plotly.newPlot(plot, figure.data, { ...figure.layout, template: theme() }, options);
  drawn.then(() => {
    plot.on("plotly_hover", (event) => {
      const key = pointed(event);
      if (key === null) return;
      if (event.event && kept === null) standAside(event.event.clientX, event.event.clientY);
      show(key);
    });
    plot.on("plotly_unhover", leave);
    plot.on("plotly_click", (event) => {
      const key = pointed(event);
      if (key !== null) toggle(key);
    });
    if ((figure.layout.meta || {}).parallel) {
      whenReset.push(chooseAlong(plot, (some) => choose(plot.dataset.figure, some)));
    }
    plot.dataset.drawn = "yes";
  });
};

// Browsers have few WebGL contexts: pictures that need one give it back when they are out of sight.
const needsWebGL = (plot) => hasWebGL && isInSpace(plot);
const watcher = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (isIntersecting && !target.dataset.drawn) drawPlot(target);
    else if (!isIntersecting && target.dataset.drawn && needsWebGL(target)) {
      target.style.minHeight = `${target.offsetHeight}px`;
      Plotly.purge(target);
      delete target.dataset.drawn;
    }
  }
}, { rootMargin: "300px" });
for (const plot of plots) {
  answerKeys(plot);
  watcher.observe(plot);
}

const recolour = () => {
  $("theme").textContent = isDark() ? "Light colours" : "Dark colours";
  for (const plot of plots) if (plot.dataset.drawn) Plotly.relayout(plot, { template: theme() });
};
$("theme").onclick = () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  recolour();
};
system.addEventListener("change", recolour);
const redrawInSpace = (print) => {
  isPrinted = print;
  for (const plot of plots.filter(needsWebGL)) {
    Plotly.purge(plot);
    drawPlot(plot);
  }
};
window.addEventListener("beforeprint", () => {
  redrawInSpace(true);
  for (const plot of plots) if (!plot.dataset.drawn && !needsWebGL(plot)) drawPlot(plot);
});
window.addEventListener("afterprint", () => redrawInSpace(false));
recolour();
