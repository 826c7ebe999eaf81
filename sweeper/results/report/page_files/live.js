// A page that refreshes itself while its sweep runs. How the sweep stands is asked often, and is little; the page itself
// is read again when there is a newer one and nobody is busy with this one. After the end nobody is asked any more.
{
  const ASK_EVERY_MS = 2000, SILENT_EVERY_MS = 30000, UNKNOWN_EVERY_MS = 5000, MOST_SILENT = 20, MOST_FAILED = 5, REST_MS = 3000;
  const at = (id) => document.getElementById(`live-${id}`);
  const own = document.querySelector("meta[name='page']").content;
  const memory = `sweeper:${window.location.pathname}`;
  let touchedMs = 0, silent = 0, failed = 0, newest = own, isPaused = false, timer = 0, isOver = false;

  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "touchstart"]) {
    window.addEventListener(kind, () => { touchedMs = Date.now(); }, { passive: true, capture: true });
  }

  // Folded parts and what they are called, whatever is counted in their names.
  const foldedParts = () =>
    [...document.querySelectorAll("main details")].map((one) => {
      const words = one.querySelector("summary").textContent.replace(/[\d.,]+/g, "#");
      return [`${one.closest("section").id} ${words.replace(/pictures?$/, "")}`, one];
    });

  // What a reader has done to the page, so that a newer one comes as this one was left.
  const remember = () => {
    const opened = foldedParts().filter(([, one]) => one.open).map(([name]) => name);
    const sliders = [...document.querySelectorAll(".along input")].map((one) => one.dataset.keys.split(" ")[Number(one.value)]);
    const boxes = ["search", "condition"].map((id) => document.getElementById(id)?.value ?? "");
    const shown = typeof columns === "undefined" ? {} : Object.fromEntries(columns.map((one) => [one.name, one.shown]));
    const focus = [...document.querySelectorAll("main button, main input, main summary, main a, #live button")].indexOf(document.activeElement);
    const chosen = typeof kept === "undefined" ? null : kept;
    const left = { y: window.scrollY, opened, sliders, boxes, shown, focus, chosen, isPaused, theme: document.documentElement.dataset.theme || "" };
    try {
      sessionStorage.setItem(memory, JSON.stringify(left));
    } catch {
      // a browser that keeps nothing shows the newer page from its top
    }
  };
  const recall = () => {
    let left = null;
    try {
      left = JSON.parse(sessionStorage.getItem(memory));
      sessionStorage.removeItem(memory);
    } catch {
      return;
    }
    if (!left) return;
    if (left.isPaused) pause(true);
    if (typeof columns === "undefined") return;
    if (left.theme) {
      document.documentElement.dataset.theme = left.theme;
      recolour();
    }
    for (const [name, one] of foldedParts()) one.open = left.opened.includes(name);
    for (const range of document.querySelectorAll(".along input")) {
      const places = left.sliders.map((key) => range.dataset.keys.split(" ").indexOf(key)).filter((place) => place >= 0);
      if (!places.length) continue;
      range.value = places[0];
      range.oninput();
    }
    for (const column of columns) column.shown = left.shown[column.name] ?? column.shown;
    document.querySelectorAll("#columns input").forEach((one, place) => { one.checked = columns[place].shown; });
    heads();
    ["search", "condition"].forEach((id, place) => { document.getElementById(id).value = left.boxes[place]; });
    fill();
    if (left.chosen && rowOf.has(left.chosen)) keep(left.chosen);
    const places = document.querySelectorAll("main button, main input, main summary, main a, #live button");
    if (left.focus >= 0 && places[left.focus]) places[left.focus].focus({ preventScroll: true });
    window.scrollTo(0, left.y);
  };

  const pause = (is) => {
    isPaused = is;
    at("pause").setAttribute("aria-pressed", String(is));
    at("pause").textContent = is ? "Refresh again" : "Pause refreshing";
    if (!is) ask();
  };
  const isAtRest = () => Date.now() - touchedMs > REST_MS;
  const readAgain = () => {
    remember();
    window.location.reload();
  };
  const toldTime = (seconds) => {
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  };
  const say = (id, text) => {
    if (at(id).textContent !== text) at(id).textContent = text; // what is the same is not read out again
  };
  const tell = (state) => {
    say("trouble", state.trouble);
    for (const [name, address] of Object.entries(state.links)) {
      if ([...at("links").children].some((one) => one.href === address)) continue;
      const link = document.createElement("a");
      link.href = address;
      link.textContent = name;
      at("links").append(link, " ");
    }
    if (state.stage === "unknown") return say("stage", state.trouble ? "Not known" : "Its driver does not say how it stands");
    const stages = { running: "Running", finished: "Finished", interrupted: "Interrupted" };
    say("stage", state.is_silent ? `Silent for ${toldTime(state.heard_s)}` : stages[state.stage]);
    const counts = [`${state.ended} of ${state.planned} trials have ended`];
    if (state.failed) counts.push(`${state.failed} failed`);
    if (state.stage === "running" && state.running) counts.push(`${state.running} are trained now`);
    if (state.stage === "running" && state.seconds_left) counts.push(`about ${toldTime(state.seconds_left)} left`);
    if ((state.is_silent || state.stage === "interrupted") && state.resume) counts.push(`go on with: ${state.resume}`);
    say("counts", counts.join(" · "));
    at("bar").hidden = false;
    at("bar").max = Math.max(1, state.planned);
    at("bar").value = state.ended;
  };

  const stop = (words) => {
    isOver = true;
    at("pause").hidden = true;
    if (words) say("trouble", words);
  };
  const ask = async () => {
    clearTimeout(timer);
    if (isPaused || isOver || document.hidden) return;
    let wait = ASK_EVERY_MS;
    try {
      const state = await (await fetch("state", { cache: "no-store" })).json();
      failed = 0;
      tell(state);
      newest = state.page || newest;
      const isUnknown = state.stage === "unknown" && !state.is_final;
      silent = state.is_silent || state.trouble || isUnknown ? silent + 1 : 0;
      if (isUnknown) wait = UNKNOWN_EVERY_MS;
      if (state.is_silent || state.trouble) wait = SILENT_EVERY_MS;
      if (newest !== own) {
        at("show").hidden = false;
        if (isAtRest()) return readAgain();
      } else if (state.is_final) return stop("");
      if (silent > MOST_SILENT) return stop("Nothing was heard for long, so this page asks no more. Reload it to look again.");
    } catch {
      failed += 1;
      if (failed >= MOST_FAILED) return stop("`sweeper ui` does not answer any more: this page stays as it is.");
    }
    timer = setTimeout(ask, wait);
  };
  document.addEventListener("visibilitychange", ask);
  at("show").onclick = readAgain;
  at("pause").onclick = () => pause(!isPaused);
  recall();
  ask();
}
