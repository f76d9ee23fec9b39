"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const json = (id) => JSON.parse(document.getElementById(id).textContent);
  const packed = json("tables");
  const charts = json("charts");
  const root = document.documentElement;
  const views = new Map(); // figure -> vega view
  const hidden = new Set(); // names of models that are switched off

  // ---- data: columns, words as places in a list, to records
  const unpacked = new Map();
  function records(name) {
    if (!unpacked.has(name)) {
      const { length, columns } = packed[name];
      const rows = Array.from({ length }, () => ({}));
      for (const [key, column] of Object.entries(columns)) {
        const { words, values } = column;
        rows.forEach((row, place) => { row[key] = words ? words[values[place]] : values[place]; });
      }
      unpacked.set(name, rows);
    }
    return unpacked.get(name);
  }

  // ---- colours: light, dark, or as the system
  const system = matchMedia("(prefers-color-scheme: dark)");
  const NAMES = { auto: "as the system", light: "light", dark: "dark" };
  let choice = "auto";
  try { choice = localStorage.getItem("theme") || "auto"; } catch { /* a file without storage */ }
  const isDark = () => (choice === "auto" ? system.matches : choice === "dark");
  function paint() {
    root.dataset.theme = isDark() ? "dark" : "light";
    const button = document.getElementById("theme");
    button.textContent = `\u25D0 ${choice}`;
    button.setAttribute("aria-label", `Colours: ${NAMES[choice]}`);
  }
  document.getElementById("theme").addEventListener("click", () => {
    const order = Object.keys(NAMES);
    choice = order[(order.indexOf(choice) + 1) % order.length];
    try { localStorage.setItem("theme", choice); } catch { /* as above */ }
    paint();
    redraw();
  });
  system.addEventListener("change", () => { paint(); redraw(); });
  paint();

  // ---- figures
  const ERRORS = 1; // of vega.logger: no warnings
  const LIGHT = { "#1b1b1b": "#ececec", "#ffffff": "#15181b", "#e4e4e4": "#33383d", "#8a8a8a": "#9aa0a6", "#6a6a6a": "#a8a8a8", "#ececec": "#3a3f44" };
  function walk(node, visit) {
    if (node === null || typeof node !== "object") return;
    for (const [key, value] of Object.entries(node)) {
      visit(node, key, value);
      walk(node[key], visit);
    }
  }
  function fitted(name, width) {
    const spec = structuredClone(charts[name]);
    const narrow = width < 560;
    walk(spec, (node, key, value) => {
      if (isDark() && typeof value === "string" && LIGHT[value]) node[key] = LIGHT[value];
      if (narrow) narrowed(spec, node, key, value);
    });
    spec.config.font = "system-ui, sans-serif";
    spec.config.axis.labelFontSize = spec.config.axis.titleFontSize = spec.config.legend.labelFontSize = 11.5;
    if (spec.title && spec.title.text && spec.title.text.expr) delete spec.title; // the control says it
    if (narrow && spec.title && typeof spec.title.text === "string") spec.title.text = spec.title.text.match(/.{1,46}(?:\s|$)/g);
    if (spec.facet) {
      const room = width - 50 - (spec.spec.height.step ? 110 : 0);
      spec.columns = Math.max(1, Math.min(spec.columns, Math.floor(room / (spec.spec.width + 42))));
      if (spec.columns === 1) spec.spec.width = Math.min(room, spec.spec.width);
      else spec.spec.width = Math.min(Math.floor(room / spec.columns) - 42, 1.5 * spec.spec.width);
    } else if (spec.hconcat || spec.concat) {
      stacked(spec, width);
    } else if (spec.height.step && typeof spec.width === "number") {
      let room = 0; // a chart with a line a name can't fit itself: the names' room is taken off
      walk([spec.layer, spec.encoding], (node, key, value) => { if (key === "labelLimit") room = Math.max(room, value); });
      spec.width = Math.max(120, Math.min(width - Math.min(room || 150, 480) - 30, 620));
    } else if (typeof spec.width === "number") {
      spec.autosize = { type: "fit-x", contains: "padding" };
      spec.width = Math.max(300, Math.min(width - 4, spec.width + 240));
    }
    return spec;
  }
  // A phone has no room for long names: a claim goes by its id, a comparison stands on two lines.
  function narrowed(spec, node, key, value) {
    if (key === "legend" && value && value.orient === "bottom") node[key] = { ...value, columns: 2 };
    if (key === "title" && typeof value === "string" && value.length > 34) node[key] = value.match(/.{1,34}(?:\s|$)/g);
    if (key !== "labelLimit" || value <= 150) return;
    if ((node.labelExpr || "").startsWith("split(")) {
      Object.assign(node, { labelExpr: "split(datum.label, '  ')[0]", labelLimit: 40, labelOffset: 0 });
      spec.height.step = 24;
    } else if (value >= 400) {
      Object.assign(node, { labelExpr: "split(datum.label, ' \u00b7 ')", labelFontSize: 9, labelLimit: 185 });
      spec.height.step = 24;
    } else {
      node[key] = 150;
    }
  }
  // Panels side by side wrap where there is no room; the first of each line keeps its labels.
  function stacked(spec, width) {
    const panels = spec.hconcat || spec.concat;
    const room = width - 130;
    const least = panels.length > 3 ? 2 : 1; // many small panels stand two by two on a phone, too
    const fit = Math.max(least, Math.min(panels.length, Math.floor(room / (panels[0].width + 26))));
    const columns = Math.ceil(panels.length / Math.ceil(panels.length / fit)); // lines of equal length
    const each = Math.floor(room / columns) - 26;
    panels.forEach((panel, place) => {
      panel.width = Math.min(each, Math.floor(1.6 * panel.width));
      walk(panel, (node, key) => { if (key === "labels") node[key] = place % columns === 0; });
    });
    spec.concat = panels;
    spec.columns = columns;
    delete spec.hconcat;
  }
  function named(spec) {
    const used = { ...(spec.datasets || {}) };
    walk(spec, (node, key, value) => {
      if (key === "data" && value && packed[value.name]) used[value.name] = records(value.name);
    });
    return used;
  }
  async function draw(figure) {
    const place = figure.querySelector(".drawing");
    const width = figure.clientWidth;
    const kept = views.has(figure) ? chosen(figure) : {};
    const spec = fitted(figure.dataset.chart, width);
    spec.datasets = named(spec);
    for (const param of spec.params) {
      if (param.name === "hidden") param.value = [...hidden];
      else if (param.name in kept) param.value = kept[param.name];
    }
    if (views.has(figure)) views.get(figure).finalize();
    const controls = figure.querySelector(".controls");
    controls.replaceChildren();
    const result = await vegaEmbed(place, spec, { actions: false, renderer: "svg", bind: controls, logLevel: ERRORS });
    views.set(figure, result.view);
    place.querySelector("svg").setAttribute("aria-hidden", "true"); // its box has the description
    figure.dataset.width = width;
    place.classList.add("drawn");
  }
  function chosen(figure) {
    const view = views.get(figure);
    const names = charts[figure.dataset.chart].params.map((param) => param.name);
    return Object.fromEntries(names.map((name) => [name, view.signal(name)]));
  }
  const queue = [];
  let busy = false;
  async function work() {
    if (busy) return;
    busy = true;
    while (queue.length) await draw(queue.shift());
    busy = false;
    root.dataset.ready = views.size;
  }
  function ask(figure) {
    if (!queue.includes(figure)) queue.push(figure);
    work();
  }
  const redraw = () => [...views.keys()].forEach(ask);
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !views.has(entry.target)) { ask(entry.target); seen.unobserve(entry.target); }
    }
  }, { rootMargin: "700px" });
  all("figure.chart").forEach((figure) => seen.observe(figure));
  addEventListener("beforeprint", () => all("figure.chart").forEach((figure) => views.has(figure) || ask(figure)));
  let later;
  addEventListener("resize", () => {
    clearTimeout(later);
    later = setTimeout(() => [...views.keys()].forEach((figure) => {
      if (Math.abs(figure.clientWidth - Number(figure.dataset.width)) > 20) ask(figure);
    }), 250);
  });

  // ---- models on and off
  const boxes = all("input.model");
  function show() {
    hidden.clear();
    boxes.filter((box) => !box.checked).forEach((box) => hidden.add(box.value));
    for (const family of all("fieldset")) {
      const members = all("input.model", family);
      const on = members.filter((box) => box.checked).length;
      const box = family.querySelector("input.family");
      box.checked = on > 0;
      box.indeterminate = on > 0 && on < members.length;
    }
    document.getElementById("shown").textContent = `(${boxes.length - hidden.size} of ${boxes.length})`;
    for (const view of views.values()) view.signal("hidden", [...hidden]).runAsync();
    all("table").forEach(sift);
  }
  all("aside input").forEach((box) => box.addEventListener("change", () => {
    if (box.classList.contains("family")) {
      all("input.model", box.closest("fieldset")).forEach((member) => { member.checked = box.checked; });
    }
    show();
  }));
  all("button[data-all]").forEach((button) => button.addEventListener("click", () => {
    boxes.forEach((box) => { box.checked = button.dataset.all === "on"; });
    show();
  }));
  if (innerWidth <= 960) all("aside details").forEach((detail) => { detail.open = false; });

  // ---- tables: filter and sort
  function sift(table) {
    const field = document.querySelector(`input[data-table="${CSS.escape(table.id)}"]`);
    const words = field ? field.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    let count = 0;
    const rows = table.id ? all("tbody tr", table) : [];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = hidden.has(row.dataset.model) || !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    if (field) field.closest(".find").querySelector(".count").textContent = count < rows.length ? `${count} of ${rows.length}` : "";
  }
  all("input[data-table]").forEach((field) => field.addEventListener("input", () => sift(document.getElementById(field.dataset.table))));

  const worth = (cell) => (cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value === "" ? null : Number(cell.dataset.value));
  function compare(one, other, sign) {
    if (one === null || other === null) return (one === null) - (other === null); // nothing comes last
    if (typeof one === "number" && typeof other === "number") return sign * (one - other);
    return sign * String(one).localeCompare(String(other), "en", { numeric: true });
  }
  function sort(table, place, head) {
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.better === "higher" ? "descending" : "ascending"; // the best comes first
    const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
    all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const body = table.tBodies[0];
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((a, b) => compare(worth(a.cells[place]), worth(b.cells[place]), sign));
    body.replaceChildren(...rows);
  }
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, place, head));
    });
  }
  show();
})();
