"use strict";
// Takes over the tables of the page: metric, order, filters, details of a cell, colour theme.
// Text from outside becomes text and nothing else: no markup is ever made from a string.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // --- Theme ---------------------------------------------------------------------------------
  const THEMES = ["system", "light", "dark"];
  const themeButton = byId("theme");

  function stored(value) {
    try { // a page opened from a file may have no storage
      if (value !== undefined) localStorage.setItem("dfbench-theme", value);
      return localStorage.getItem("dfbench-theme");
    } catch { return null; }
  }

  function setTheme(name) {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    themeButton.textContent = `Theme: ${name}`;
  }

  let theme = THEMES.includes(stored()) ? stored() : "system";
  setTheme(theme);
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    stored(theme);
    setTheme(theme);
  });

  // --- Published numbers ---------------------------------------------------------------------
  const contains = (text, words) => words.every((word) => text.includes(word));
  const words = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);

  function filterPublished() {
    const source = byId("published-source").value;
    const metric = byId("published-metric").value;
    const wanted = words(byId("published-find"));
    let count = 0;
    for (const section of document.querySelectorAll("#published .source")) {
      let there = false;
      for (const block of section.querySelectorAll(".published")) {
        let rows = 0;
        for (const row of block.querySelectorAll("tbody tr")) {
          row.hidden = !contains(row.cells[0].textContent.toLowerCase(), wanted);
          rows += !row.hidden;
        }
        block.hidden = !rows || (metric !== "" && block.dataset.metric !== metric);
        if (!block.hidden) there = true;
        if (!block.hidden && (source === "" || section.dataset.source === source)) count += rows;
      }
      section.hidden = !there || (source !== "" && section.dataset.source !== source);
    }
    byId("published-status").textContent = `${count} published rows shown`;
  }

  if (byId("published")) {
    byId("published-controls").hidden = false;
    byId("published-controls").addEventListener("input", filterPublished);
    byId("published-controls").addEventListener("submit", (event) => event.preventDefault());
    if (byId("published-metric").querySelector('option[value="auc"]')) {
      byId("published-metric").value = "auc";
      filterPublished();
    }
  }

  // --- Matrix --------------------------------------------------------------------------------
  const table = byId("board");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows]; // in the order of the file
  const heads = [...table.tHead.rows[0].cells];
  const MEAN = 0; // position of the mean among a row's cells; the datasets follow
  const state = { metric: data.metrics[0], sort: null, ascending: false };
  const cellsOf = (row) => data.cells[state.metric.key][Number(row.dataset.row)];
  const shown = () => [...body.rows].filter((row) => !row.hidden);

  function fill(row) {
    const number = Number(row.dataset.row);
    cellsOf(row).forEach((cell, column) => {
      const place = row.cells[column + 1];
      place.replaceChildren();
      if (!cell) {
        place.className = "empty";
        place.append(element("span", "not scored", "hidden"));
        const dash = element("span", "-");
        dash.setAttribute("aria-hidden", "true");
        place.append(dash);
        return;
      }
      const [, text, small, tone] = cell;
      const notes = column === MEAN ? [] : data.notes[number][column - 1];
      const marked = (sign) => notes.some((note) => note.startsWith(sign));
      place.className = [tone, marked("†") && "within", marked("best") && "best"].filter(Boolean).join(" ");
      const button = element("button");
      button.type = "button";
      button.tabIndex = -1;
      button.append(element("b", text));
      for (const line of small.split("\n").filter(Boolean)) button.append(element("small", line));
      if (notes.length) button.append(element("span", `; ${notes.join("; ")}`, "hidden"));
      place.append(button);
    });
  }

  // --- Order and filters ---------------------------------------------------------------------
  const HIGH_FIRST = () => !state.metric.high; // ascending, where low is best

  // What a row is sorted by: numbers that measure generalisation come before those that do not
  // (within-dataset, leaky), and these before places without a number, whichever way is up.
  function key(row) {
    const number = Number(row.dataset.row);
    if (state.sort === "model") return [0, data.rows[number][0].toLowerCase()];
    if (state.sort === "train") return [0, data.rows[number][1].toLowerCase()];
    const column = state.sort === "mean" ? MEAN : Number(state.sort) + 1;
    const cell = cellsOf(row)[column];
    if (!cell || cell[0] === null) return [2, 0];
    const notes = column === MEAN ? [] : data.notes[number][column - 1];
    return [notes.some((note) => /^[†‡]/.test(note)) ? 1 : 0, cell[0]];
  }

  function order() {
    const sign = state.ascending ? 1 : -1;
    const sorted = state.sort === null ? rows : [...rows].sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a[0] !== b[0]) return a[0] - b[0];
      if (a[1] === b[1]) return rows.indexOf(one) - rows.indexOf(other);
      return a[1] < b[1] ? -sign : sign;
    });
    body.append(...sorted);
    for (const head of heads) {
      head.removeAttribute("aria-sort");
      for (const button of head.querySelectorAll("button")) {
        delete button.dataset.way;
        if (button.dataset.sort !== state.sort) continue;
        head.setAttribute("aria-sort", state.ascending ? "ascending" : "descending");
        button.dataset.way = state.ascending ? "up" : "down";
      }
    }
  }

  function filter() {
    const train = byId("train").value;
    const wanted = words(byId("find"));
    for (const row of rows) {
      const [model, trained] = data.rows[Number(row.dataset.row)];
      const text = `${model} ${trained}`.toLowerCase();
      row.hidden = (train !== "" && trained !== train) || !contains(text, wanted);
    }
    for (const group of document.querySelectorAll("#ranking .group")) {
      group.hidden = train !== "" && group.dataset.train !== train;
    }
  }

  function sortName() {
    if (state.sort === null) return "by training set, best mean first";
    const names = { model: "by detector", train: "by training set", mean: "by mean across" };
    const name = names[state.sort] || `by ${data.columns[Number(state.sort)]}`;
    if (state.sort === "model" || state.sort === "train") return `${name}, ${state.ascending ? "A to Z" : "Z to A"}`;
    return `${name}, ${state.ascending === HIGH_FIRST() ? "best" : "worst"} first`;
  }

  function say() {
    const count = shown().length;
    const found = count ? `${count} of ${rows.length} rows` : "No row fits the filters";
    byId("status").textContent = `${found}; ${state.metric.label}, sorted ${sortName()}.`;
  }

  function update() {
    filter();
    order();
    hideTip();
    const buttons = [...body.querySelectorAll("button")];
    for (const button of buttons) button.tabIndex = -1;
    const first = shown().flatMap((row) => [...row.querySelectorAll("button")])[0];
    if (first) first.tabIndex = 0;
    say();
  }

  function setMetric(name) {
    state.metric = data.metrics.find((metric) => metric.key === name) || data.metrics[0];
    byId("about").textContent = state.metric.about;
    rows.forEach(fill);
  }

  function sortBy(name) {
    const text = name === "model" || name === "train";
    const first = text || HIGH_FIRST(); // names from A, numbers from the best
    state.ascending = state.sort === name ? !state.ascending : first;
    state.sort = name;
    update();
  }

  for (const head of heads) {
    const sorts = head.dataset.sort === "model" ? [["model", "Detector"], ["train", "trained on"]] : [[head.dataset.sort, null]];
    const label = head.firstElementChild;
    const made = sorts.map(([name, text]) => {
      const button = element("button", text === null ? undefined : text);
      if (text === null) button.append(...[...label.childNodes].map((node) => node.cloneNode(true)));
      button.type = "button";
      button.dataset.sort = name;
      button.addEventListener("click", () => sortBy(name));
      return button;
    });
    head.replaceChildren(...made);
  }

  // --- Details of a cell ---------------------------------------------------------------------
  const tip = byId("tip");
  let owner = null;

  function hideTip() {
    tip.hidden = true;
    if (owner) owner.removeAttribute("aria-describedby");
    owner = null;
  }

  function showTip(button) {
    hideTip();
    const place = button.closest("td");
    const row = place.parentElement;
    const column = place.cellIndex - 1;
    const number = Number(row.dataset.row);
    const [model, train] = data.rows[number];
    const lines = [`${model}, trained on ${train}`];
    if (column !== MEAN) lines.push(`scored on ${data.columns[column - 1]}`);
    lines.push(...cellsOf(row)[column][4].split("; "));
    if (column !== MEAN) lines.push(...data.notes[number][column - 1]);
    tip.replaceChildren(...lines.map((line) => element("p", line)));
    tip.hidden = false;
    owner = button;
    button.setAttribute("aria-describedby", "tip");
    placeTip();
  }

  function placeTip() {
    if (!owner) return;
    const at = owner.closest("td").getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - size.width - 8));
    const below = at.bottom + 6 + size.height < window.innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - size.height - 6)}px`;
  }

  const buttonAt = (event) => event.target.closest("td button");
  body.addEventListener("pointerover", (event) => { if (buttonAt(event)) showTip(buttonAt(event)); });
  // What the focus shows stays, wherever the pointer is.
  const leave = () => { if (owner !== document.activeElement) hideTip(); };
  body.addEventListener("pointerleave", (event) => { if (event.relatedTarget !== tip) leave(); });
  tip.addEventListener("pointerleave", leave);
  body.addEventListener("focusin", (event) => { if (buttonAt(event)) showTip(buttonAt(event)); });
  body.addEventListener("focusout", hideTip);
  body.addEventListener("click", (event) => { if (buttonAt(event)) showTip(buttonAt(event)); });
  document.addEventListener("scroll", placeTip, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

  // One stop for the tab key; arrows move within the table.
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  body.addEventListener("keydown", (event) => {
    const from = buttonAt(event);
    if (!from || !(event.key in STEPS)) return;
    event.preventDefault();
    const visible = shown();
    const [down, right] = STEPS[event.key];
    let line = visible.indexOf(from.closest("tr"));
    let column = from.closest("td").cellIndex;
    let found = null;
    while (!found) { // past places that were not scored
      line += down;
      column += right;
      const place = visible[line]?.cells[column];
      if (!place || column < 1) return;
      found = place.querySelector("button");
    }
    from.tabIndex = -1;
    found.tabIndex = 0;
    found.focus();
  });

  // --- Start ---------------------------------------------------------------------------------
  byId("controls").hidden = false;
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("metric").addEventListener("input", () => { setMetric(byId("metric").value); if (state.sort !== "model" && state.sort !== "train") state.ascending = HIGH_FIRST(); update(); });
  byId("train").addEventListener("input", update);
  byId("find").addEventListener("input", update);
  byId("clear").addEventListener("click", () => {
    byId("controls").reset();
    setMetric(byId("metric").value);
    state.sort = null;
    update();
  });
  setMetric(byId("metric").value); // what the browser kept when the page was loaded again
  update();
})();
