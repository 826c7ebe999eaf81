"use strict";
// The report's own script: pictures, the table of trials, and the panel with a network. It asks nobody for anything.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = data.trials.columns, byName = new Map(columns.map((column) => [column.name, column]));
  const keys = byName.get("key").values, rowOf = new Map(keys.map((key, row) => [key, row]));
  const members = new Set(data.front);
  const $ = (id) => document.getElementById(id);
  const made = (tag, text, parent) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };

  // --- numbers as people read them
  const worded = (value) => {
    if (value === null || value === undefined || value === "") return "–";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return Math.abs(value) < 1e6 ? String(value) : value.toLocaleString("en");
    const size = Math.abs(value);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : size < 0.001 ? value.toExponential(1) : String(+value.toPrecision(4));
  };

  // --- the panel
  const panel = $("panel");
  let pinned = null, asked = 0;

  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Blob([await new Response(stream).arrayBuffer()], { type: "image/svg+xml" });
  };

  const show = async (key) => {
    const row = rowOf.get(key), mine = ++asked;
    if (row === undefined) return;
    panel.replaceChildren();
    panel.hidden = false;
    const close = made("button", "×", panel);
    close.type = "button";
    close.setAttribute("aria-label", "close");
    close.onclick = () => pin(null);
    const head = made("strong", key, panel);
    if (members.has(key)) head.textContent += " · on the front";
    if (pinned !== key) made("span", " (click to keep)", panel).className = "soft";
    const list = made("dl");
    for (const column of columns) {
      const value = column.values[row];
      if (column.name === "key" || value === null || value === "" || (!column.shown && column.name !== "reason")) continue;
      made("dt", column.title, list);
      made("dd", worded(value) + (column.unit && typeof value === "number" ? ` ${column.unit}` : ""), list);
    }
    const packed = data.networks[key];
    if (packed) {
      const url = URL.createObjectURL(await unpacked(packed));
      if (mine !== asked) return URL.revokeObjectURL(url);
      const image = made("img", undefined, panel);
      image.alt = `the network of trial ${key}: steps to the right, layers upwards, channels into the page`;
      image.onload = () => URL.revokeObjectURL(url);
      image.src = url;
    } else {
      made("p", members.has(key) ? "Its network is not stored in MLflow." : "Networks are kept in MLflow for fronts only.", panel).className = "soft";
    }
    panel.append(list);
  };

  const mark = () => {
    for (const line of document.querySelectorAll("tr[data-key]")) line.classList.toggle("chosen", line.dataset.key === pinned);
  };
  const pin = (key) => {
    pinned = key;
    mark();
    if (key === null) { panel.hidden = true; asked++; } else show(key);
  };
  const leave = () => { if (pinned === null) { panel.hidden = true; asked++; } else show(pinned); };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") pin(null);
    const line = event.target.closest ? event.target.closest("tr[data-key]") : null;
    if (line && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); pin(line.dataset.key); }
  });
  document.addEventListener("click", (event) => {
    const line = event.target.closest("tr[data-key]");
    if (line) pin(line.dataset.key === pinned ? null : line.dataset.key);
  });

  // --- pictures
  const dark = () => document.documentElement.dataset.theme === "dark";
  const plots = [...document.querySelectorAll(".plot")];
  const keyOf = (event) => {
    const custom = event.points && event.points[0] && event.points[0].customdata;
    return Array.isArray(custom) ? custom[0] : custom;
  };
  const drawPlot = (plot) => {
    const figure = data.figures[plot.dataset.figure];
    const layout = { ...figure.layout, template: data.themes[dark() ? 1 : 0] };
    Plotly.newPlot(plot, figure.data, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] }).then(() => {
      plot.on("plotly_hover", (event) => { const key = keyOf(event); if (rowOf.has(key)) show(key); });
      plot.on("plotly_unhover", leave);
      plot.on("plotly_click", (event) => {
        const key = keyOf(event);
        if (!rowOf.has(key)) return;
        pin(key);
        const line = [...$("table").querySelectorAll("tr[data-key]")].find((one) => one.dataset.key === key);
        if (line) line.parentElement.parentElement.parentElement.scrollTop = line.offsetTop - 60;
      });
      plot.dataset.drawn = "yes";
    });
  };
  // Browsers have few WebGL contexts: pictures that need one give it back when they are out of sight.
  const needsWebGL = (plot) => data.figures[plot.dataset.figure].data.some((trace) => ["scatter3d", "parcoords"].includes(trace.type));
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
  const setTheme = (name) => {
    document.documentElement.dataset.theme = name;
    $("theme").textContent = name === "dark" ? "light" : "dark";
    for (const plot of plots) if (plot.dataset.drawn) Plotly.relayout(plot, { template: data.themes[dark() ? 1 : 0] });
  };
  $("theme").onclick = () => setTheme(dark() ? "light" : "dark");
  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  for (const plot of plots) watcher.observe(plot);

  // --- conditions: `a >= 1 and (b < 2 or c = word)`, as on the command line
  const parsed = (text) => {
    const tokens = [...text.matchAll(/\s*(>=|<=|!=|==|=|<|>|\(|\)|"[^"]*"|'[^']*'|[^\s()<>=!]+|.)/gy)].map((match) => match[1]);
    let at = 0;
    const take = () => tokens[at++];
    const either = () => {
      const parts = [both()];
      while (/^or$/i.test(tokens[at] || "")) { at++; parts.push(both()); }
      return (row) => parts.some((part) => part(row));
    };
    const both = () => {
      const parts = [one()];
      while (/^and$/i.test(tokens[at] || "")) { at++; parts.push(one()); }
      return (row) => parts.every((part) => part(row));
    };
    const one = () => {
      if (tokens[at] === "(") {
        at++;
        const inner = either();
        if (take() !== ")") throw new Error("a parenthesis is not closed");
        return inner;
      }
      const name = take(), sign = take(), word = take();
      if (name === undefined) throw new Error("a condition is missing at the end");
      const column = byName.get(name) || columns.find((other) => other.title === name);
      if (!column) throw new Error(`there is no column "${name}" (there are: ${columns.map((other) => other.name).join(", ")})`);
      if (!/^(>=|<=|!=|==|=|<|>)$/.test(sign || "")) throw new Error(`after "${name}" comes one of >= <= > < = !=`);
      if (word === undefined || /^[()<>=!]/.test(word)) throw new Error(`"${name} ${sign}" needs a value`);
      return compared(column, sign, word);
    };
    const found = either();
    if (at < tokens.length) throw new Error(`"${tokens[at]}" is not expected: join conditions with and, or`);
    return found;
  };
  const compared = (column, sign, word) => {
    const isNumber = column.values.some((value) => typeof value === "number");
    const bare = word.replace(/^(["'])(.*)\1$/, "$2");
    const wanted = isNumber ? Number(bare) : bare.toLowerCase();
    if (isNumber && (bare === "" || Number.isNaN(wanted))) throw new Error(`${column.name} is a number, but "${bare}" is not`);
    if (!isNumber && !["=", "==", "!="].includes(sign)) throw new Error(`${column.name} has no order: use = or !=`);
    return (row) => {
      let value = column.values[row];
      if (value === null) return false;
      if (!isNumber) value = typeof value === "boolean" ? String(value) : String(value).toLowerCase();
      switch (sign) {
        case ">=": return value >= wanted;
        case "<=": return value <= wanted;
        case ">": return value > wanted;
        case "<": return value < wanted;
        case "!=": return value !== wanted;
        default: return value === wanted;
      }
    };
  };

  // --- the table
  const everyRow = [...keys.keys()];
  let order = everyRow, sorted = null, isDown = false;
  const visible = () => columns.filter((column) => column.shown);
  const isNumeric = (column) => column.values.some((value) => typeof value === "number");
  const sortBy = (column) => {
    isDown = sorted === column ? !isDown : column.goal === "maximize";
    sorted = column;
    const way = isDown ? -1 : 1, values = column.values, empty = (value) => value === null || value === "";
    order = [...everyRow].sort((a, b) => {
      const x = values[a], y = values[b];
      if (empty(x) || empty(y)) return empty(x) === empty(y) ? a - b : empty(x) ? 1 : -1;
      return x < y ? -way : x > y ? way : a - b;
    });
    fill();
  };
  const heads = () => {
    const line = made("tr");
    for (const column of visible()) {
      const head = made("th", undefined, line);
      head.scope = "col";
      const button = made("button", column.title + ({ maximize: " ↑", minimize: " ↓" }[column.goal] || ""), head);
      button.type = "button";
      if (column.unit) made("small", column.unit, button);
      if (sorted === column) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      button.onclick = () => { sortBy(column); $("table").querySelectorAll("th button")[visible().indexOf(column)].focus(); };
    }
    $("table").tHead.replaceChildren(line);
  };
  const fill = () => {
    const word = $("search").value.trim().toLowerCase(), text = $("condition").value.trim();
    let meets = () => true;
    try {
      if (text) meets = parsed(text);
      $("problem").textContent = "";
    } catch (error) {
      $("problem").textContent = `cannot read the condition: ${error.message}`;
    }
    heads();
    const shown = visible(), body = $("table").tBodies[0], lines = document.createDocumentFragment();
    const fits = (row) => !word || columns.some((column) => String(column.values[row] ?? "").toLowerCase().includes(word));
    const rows = order.filter((row) => meets(row) && fits(row));
    for (const row of rows) {
      const line = made("tr", undefined, lines);
      line.tabIndex = 0;
      line.dataset.key = keys[row];
      if (members.has(keys[row])) line.className = "member";
      for (const column of shown) {
        const cell = made("td", worded(column.values[row]), line);
        if (isNumeric(column)) cell.className = "number";
        if (column.name === "reason") cell.className = "prose";
      }
    }
    body.replaceChildren(lines);
    $("count").textContent = `${rows.length.toLocaleString("en")} of ${keys.length.toLocaleString("en")} trials · ● on the front`;
    mark();
  };
  const choices = $("columns").querySelector("div");
  for (const column of columns) {
    const label = made("label", undefined, choices), box = made("input", undefined, label);
    box.type = "checkbox";
    box.checked = column.shown;
    box.onchange = () => { column.shown = box.checked; fill(); };
    label.append(column.title);
  }
  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(fill, 120); };
  $("search").oninput = soon;
  $("condition").oninput = soon;
  fill();
})();
