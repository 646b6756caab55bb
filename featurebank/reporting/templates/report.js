// The script of the report: tables that sort and filter, pictures, charts and the panel. It writes names as text only
// (textContent), because classes and files may be called anything.
"use strict";
(() => {
const root = document.documentElement;
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const systemDark = matchMedia("(prefers-color-scheme: dark)");
root.classList.add("js");
$$(".controls:not(.more-rows)").forEach(part => { part.hidden = false; });

/** Returns a new element; children are elements or texts. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Returns a list of names and values. */
function facts(pairs) {
  return make("dl", { className: "facts" }, ...pairs.map(([name, value]) =>
    make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
}

// ---- Pictures: each is in the page once, and is decoded when it comes near the window.

function showPicture(image) {
  const heat = image.dataset.heat && image.closest("section").classList.contains("heated");
  image.src = data.pictures[heat ? image.dataset.heat : image.dataset.picture];
}

const nearPictures = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) {
    nearPictures.unobserve(target);
    showPicture(target);
  }
}, { rootMargin: "400px" });
$$("img[data-picture]").forEach(image => nearPictures.observe(image));

for (const button of $$("button.heat")) button.addEventListener("click", () => {
  const section = button.closest("section");
  const heated = section.classList.toggle("heated");
  button.setAttribute("aria-pressed", heated);
  $$("img[data-heat]", section).forEach(showPicture);
});

// ---- Charts: drawn when they come near the window, the others when the browser is idle, all of them before printing.

const views = new Map();
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;

/** Forgets the charts of an element. */
function clear(box) {
  (views.get(box) ?? []).forEach(view => view.finalize());
  views.delete(box);
}

/**
 * Draws specifications side by side into an element, and returns Vega's views; none if it is drawn anew meanwhile.
 * Without network, its promises need no more than microtasks.
 */
async function draw(box, specifications, { dark = isDark(), tooltip = showTip } = {}) {
  clear(box);
  views.set(box, []);
  const config = { ...data.themes[dark ? "dark" : "light"], background: null };
  const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", config, defaultStyle: false, tooltip };
  const places = specifications.map(() => make("div"));
  box.replaceChildren(...places);
  const made = [];
  for (const [number, specification] of specifications.entries()) {
    made.push((await vegaEmbed(places[number], fitted(specification, places[number].clientWidth), options)).view);
  }
  if (places[0].parentNode !== box) {
    made.forEach(view => view.finalize());
    return [];
  }
  // The rectangle of a brush has the role of an image and no name.
  $$("[role=graphics-symbol]:not([aria-label])", box).forEach(part => part.setAttribute("aria-hidden", true));
  views.set(box, made);
  return made;
}

/** Returns a copy of a specification, which Vega-Lite changes, whose legends are not wider than the element. */
function fitted(specification, width) {
  return JSON.parse(JSON.stringify(specification), (key, value) => key !== "legend" || !value ? value
    : { ...value, labelLimit: Math.min(value.labelLimit ?? 220, (width - 60) / (value.columns ?? 1) - 24) });
}

async function drawFigure(figure, dark) {
  nearCharts.unobserve(figure);
  const made = await draw($(".drawing", figure), data.charts[figure.dataset.chart], { dark, tooltip: tipOf(figure) });
  if (!made.length) return;
  if (figure.dataset.kind) walkable(figure);
  if (figure.dataset.kind === "by-cost") boards.get(figure.closest("section"))?.link(made);
}

const nearCharts = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) drawFigure(target);
}, { rootMargin: "300px" });
const figures = $$("figure[data-chart]");
// A chart in a folded part has no width to be drawn for: it waits until the part is opened.
const undrawn = () => figures.filter(figure => figure.checkVisibility() && !views.has($(".drawing", figure)));
const redraw = dark => Promise.all(figures.filter(figure => views.has($(".drawing", figure))).map(f => drawFigure(f, dark)));
const idle = window.requestIdleCallback ?? (work => setTimeout(work, 50));
function drawRest() {
  const [next] = undrawn();
  if (next) drawFigure(next).then(() => idle(drawRest));
}

/** Lets the arrow keys walk over the points of a chart; the first one is in the order of the Tab key. */
function walkable(figure) {
  const points = $$("path[role=graphics-symbol]", figure).filter(path => path.__data__?.tooltip);
  // A mistake on the map has two marks, a point and a ring.
  const ofId = new Map(points.map(point => [point.__data__.datum.id ?? point, point]));
  const sorted = [...ofId.values()].sort((a, b) => a.__data__.bounds.x1 - b.__data__.bounds.x1);
  sorted.forEach((point, place) => {
    point.setAttribute("tabindex", place ? -1 : 0);
    point.addEventListener("focus", () => tipOf(figure)(null, null, point.__data__, point.__data__.tooltip));
    point.addEventListener("blur", hideTip);
    point.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      sorted[(place + step + sorted.length) % sorted.length].focus();
    });
  });
}

// ---- The text under the mouse, with the picture of a point.

const tip = $("#tip");
const hideTip = () => { tip.hidden = true; };
const maps = data.maps.map(pairs => new Map(pairs));
const tipOf = figure => (handler, event, item, value) => showTip(handler, event, item, value, maps[figure.dataset.pictures]);

function showTip(_handler, event, item, value, pictures) {
  if (value === null || value === undefined || value === "") return hideTip();
  const pairs = typeof value === "object" ? Object.entries(value) : [["", value]];
  const source = pictures && data.pictures[pictures.get(item.datum?.id)];
  tip.replaceChildren(
    ...(source ? [make("img", { src: source, alt: "" })] : []),
    make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", { textContent: name }), make("dd", { textContent: text })])));
  tip.hidden = false;
  const at = event ? { x: event.clientX, y: event.clientY } : middle(document.activeElement);
  const { width, height } = tip.getBoundingClientRect();
  const fit = (place, size, most) => Math.max(4, place + 14 + size > most ? place - 14 - size : place + 14);
  // The policy forbids style attributes in the document, and not the properties of an element's style.
  tip.style.left = `${fit(at.x, width, root.clientWidth)}px`;
  tip.style.top = `${fit(at.y, height, root.clientHeight)}px`;
}

function middle(element) {
  const { left, top, width, height } = element.getBoundingClientRect();
  return { x: left + width / 2, y: top + height / 2 };
}

// ---- The panel: curves of a run, pictures of a cell. <dialog> closes on Escape and returns the focus.

const panel = $("#panel");
$("#close").addEventListener("click", () => panel.close());
panel.addEventListener("click", event => { if (event.target === panel) panel.close(); });

panel.addEventListener("close", () => $$(".drawing", panel).forEach(clear));

function openPanel(title, ...children) {
  $$(".drawing", panel).forEach(clear);
  $("#panel-title").textContent = title;
  $("#panel-body").replaceChildren(...children);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
}

function openCell({ true: label, predicted, count, pictures }) {
  const title = `${label} ${label === predicted ? "recognised" : `taken for ${predicted}`}: ${count} ${count === 1 ? "image" : "images"}`;
  const gallery = pictures.map(picture => make("li", {}, make("figure", {},
    picture.key ? make("img", { src: data.pictures[picture.key], alt: picture.text, className: picture.tiny ? "tiny" : "" })
      : make("span", { className: "gone", role: "img", ariaLabel: `${picture.text}: ${picture.reason}`, textContent: picture.reason }),
    make("figcaption", { textContent: picture.id }))));
  const rest = count - pictures.length;
  openPanel(title, make("ul", { className: "gallery" }, ...gallery),
    ...(rest > 0 ? [make("p", { className: "soft", textContent: `and ${rest} more` })] : []));
}

/** Opens the curves of a run, with buttons that go on to the rows before and after it. */
function openRun(row, table) {
  const run = data.runs[row.dataset.run];
  const known = [...row.cells].slice(1).map((cell, place) =>
    [table.headings[place + 1], (cell.querySelector(".interval") ?? cell).textContent.trim()]).filter(([, value]) => value);
  known.push(["Kind", run.kind]);
  if (run.reason) known.push(["Reason", run.reason]);
  const box = make("div", { className: "drawing" });
  const shown = table.shown();
  const place = shown.indexOf(row);
  const step = (text, to) => make("button", { type: "button", textContent: text, disabled: !shown[to], onclick: () => openRun(shown[to], table) });
  const curves = run.epochs.length
    ? make("figure", { className: "chart", ariaLabel: "Training beside validation, by epoch", role: "group" }, box)
    : make("p", { textContent: run.reason ? "This run failed, so it has no curves." : "This head is not trained in epochs, so it has no curves." });
  openPanel(run.title, facts(known), curves, make("div", { className: "steps" }, step("Previous head", place - 1), step("Next head", place + 1)));
  if (box.parentNode) draw(box, history(run));
}

/** Returns the charts of a run: those that the page has of a made-up run, with the values of this one. */
function history(run) {
  const last = run.epochs.at(-1), right = run.best > 0.6 * last;
  return ["accuracy", "loss"].map((quantity, place) => {
    const chart = structuredClone(data.history[place]);
    const rows = [["training", quantity], ["validation", `val_${quantity}`]].flatMap(([split, name]) =>
      (run.curves[name] ?? []).map((value, index) => ({ run: run.title, epoch: run.epochs[index], split, value, alone: last === 1 })));
    const values = rows.map(row => row.value).filter(value => value !== null);
    const ends = [Math.min(...values), Math.max(...values)];
    const rowsWith = {
      epoch: rows,
      at: run.best ? [{ at: run.best, label: `best epoch ${run.best}` }] : [],
      from: run.overfits ? [{ from: run.overfits, to: last, label: "over-fitting" }] : [],
    };
    for (const [name, [row]] of Object.entries(chart.datasets)) {
      chart.datasets[name] = rowsWith[Object.keys(rowsWith).find(key => key in row)];
    }
    chart.layer = chart.layer.filter(layer => chart.datasets[layer.data.name].length);
    for (const { mark, encoding: { x, y } } of chart.layer) {
      if (x.scale) Object.assign(x, { scale: { ...x.scale, domain: [Math.min(1, last - 1), last] }, axis: { ...x.axis, values: undefined, tickMinStep: 1 } });
      if (y?.scale) y.scale = { ...y.scale, domain: ends[0] < ends[1] ? ends : [ends[0] - 0.01, ends[1] + 0.01], type: "linear" };
      if (x.field === "at" && right) Object.assign(mark, { align: "right", dx: -Math.abs(mark.dx) });
    }
    return chart;
  });
}

// ---- Tables.

const collator = new Intl.Collator("en", { numeric: true });
const boards = new Map();

class Table {
  constructor(table) {
    this.table = table;
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.limit = this.most = Number(table.dataset.rows) || Infinity;
    this.matches = () => true;
    const heads = [...table.tHead.rows[0].cells];
    this.headings = heads.map(head => head.textContent);
    heads.forEach((head, column) => {
      if ("plain" in head.dataset) return;
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.replaceChildren(button);
      button.addEventListener("click", () => this.sort(head, column));
    });
    this.more = table.closest(".scroll").nextElementSibling?.matches(".more-rows") ? table.closest(".scroll").nextElementSibling : null;
    this.more?.firstElementChild.addEventListener("click", () => {
      this.limit = this.limit === this.most ? Infinity : this.most;
      this.update();
    });
    this.update();
  }

  /** Sorts by a column: numbers as numbers, texts as a reader expects, missing values last in both directions. */
  sort(head, column) {
    const numbers = head.classList.contains("number");
    const active = head.getAttribute("aria-sort");
    const falling = active ? active === "ascending" : numbers;
    for (const other of this.table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const keys = new Map(this.rows.map(row => {
      const cell = row.cells[column];
      return [row, numbers ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : ($(".name", cell) ?? cell).textContent.trim() || null];
    }));
    const compare = numbers ? (a, b) => a - b : collator.compare;
    this.rows.sort((one, two) => {
      const a = keys.get(one), b = keys.get(two);
      if (a === null || b === null) return (a === null) - (b === null);
      return falling ? compare(b, a) : compare(a, b);
    });
    this.body.append(...this.rows);
    this.update();
  }

  shown() { return this.rows.filter(row => !row.hidden); }

  update() {
    const found = this.rows.filter(this.matches);
    const visible = new Set(found.slice(0, this.limit));
    for (const row of this.rows) row.hidden = !visible.has(row);
    if (this.more) {
      this.more.hidden = found.length <= this.most;
      this.more.firstElementChild.textContent = this.limit === this.most ? `Show all ${found.length}` : `Show the first ${this.most}`;
    }
    this.updated?.(found.length, visible.size);
  }
}

/** The leaderboard: a table with filters, curves, and a chart whose points are its rows. */
class Board extends Table {
  constructor(table, section) {
    super(table);
    this.section = section;
    this.selected = null;
    this.views = [];
    this.filters = $(".filters", section);
    this.status = $("[role=status]", section);
    this.texts = new Map(this.rows.map(row => [row, row.textContent.toLowerCase()]));
    this.byRun = new Map(this.rows.map(row => [data.runs[row.dataset.run].run, row]));
    for (const place of $$(".open", this.body)) place.replaceChildren(make("button", { type: "button" }, ...place.childNodes));
    const rowOf = event => event.target.closest("tr");
    this.body.addEventListener("click", event => {
      $("button", rowOf(event)).focus();
      openRun(rowOf(event), this);
    });
    for (const kind of ["mouseover", "focusin"]) this.body.addEventListener(kind, event => this.mark(rowOf(event)));
    this.body.addEventListener("mouseleave", () => this.mark());
    this.filters.addEventListener("input", () => this.filter());
    this.clear = $("[name=clear]", this.filters);
    this.clear.addEventListener("click", () => this.clearBrush());
    this.filter();
  }

  filter() {
    const [kind, tap, text] = ["kind", "tap", "text"].map(name => $(`[name=${name}]`, this.filters).value);
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.matches = row => {
      const one = data.runs[row.dataset.run];
      return (!kind || one.kind === kind) && (!tap || one.tap === tap)
        && (!this.selected || this.selected.has(one.run)) && words.every(word => this.texts.get(row).includes(word));
    };
    this.update();
  }

  /** Filters by the points that the brush of the chart holds; null for all. */
  select(runs) {
    this.selected = runs;
    this.filter();
  }

  /** Marks a row, and its point in the charts. */
  mark(row, inCharts = true) {
    if (row === this.marked) return;
    this.marked?.classList.remove("linked");
    row?.classList.add("linked");
    this.marked = row;
    const id = row ? data.runs[row.dataset.run].run : "";
    if (inCharts) this.views.forEach(view => view.signal("highlighted", id).runAsync());
  }

  /** Shows a row, whatever is filtered, and gives it the focus: Enter opens its curves. */
  reveal(row) {
    if (!this.matches(row)) {
      $$("select, input", this.filters).forEach(control => { control.value = ""; });
      this.clearBrush();
    }
    if (row.hidden) this.limit = Infinity;
    this.update();
    row.scrollIntoView({ block: "center" });
    $("button", row).focus({ preventScroll: true });
  }

  clearBrush(except) {
    for (const view of this.views) if (view !== except) view.data("brushed_store", []).runAsync();
    if (!except) this.select(null);
  }

  /** Links the rows with the points of drawn charts; see charts/runs.py for their signals. */
  link(views) {
    this.views = views;
    this.select(null);
    views.forEach(view => {
      const points = $$("path[role=graphics-symbol]", view.container()).map(path => path.__data__?.datum).filter(point => point?.id);
      view.addSignalListener("brushed", (_name, ranges) => {
        const limits = Object.entries(ranges);
        if (!limits.length) return this.brushing === view ? this.select(null) : undefined;
        if (this.brushing !== view) this.clearBrush(view);
        this.brushing = view;
        // The ends of a range are in the order of the pixels.
        this.select(new Set(points.filter(point => limits.every(([name, ends]) =>
          Math.min(...ends) <= point[name] && point[name] <= Math.max(...ends))).map(point => point.id)));
      });
      const rowOf = item => this.byRun.get(item?.datum?.id);
      view.addEventListener("click", (_event, item) => { if (rowOf(item)) this.reveal(rowOf(item)); });
      view.addEventListener("mouseover", (_event, item) => this.mark(rowOf(item), false));
      $$("path[tabindex]", view.container()).forEach(path => path.addEventListener("keydown", event => {
        if (event.key !== "Enter" || !rowOf(path.__data__)) return;
        event.preventDefault(); // it would press the button that gets the focus
        this.reveal(rowOf(path.__data__));
      }));
    });
  }

  updated(found, visible) {
    if (!this.status) return;
    const all = this.rows.length;
    const matching = found === all ? `${all} heads` : `${found || "None"} of ${all} heads match`;
    this.status.textContent = visible < found ? `${matching}; the first ${visible} are shown` : matching;
    this.clear.hidden = !this.selected;
  }
}

for (const table of $$("table.sortable")) {
  const section = table.closest("section");
  if (table.matches(".board")) boards.set(section, new Board(table, section));
  else new Table(table);
}
for (const cell of $$("[data-cell]")) {
  const button = make("button", { type: "button" }, ...cell.childNodes);
  const { true: label, predicted } = data.cells[cell.dataset.cell];
  button.setAttribute("aria-label", `${button.textContent}: ${label} predicted as ${predicted}`);
  button.addEventListener("click", () => openCell(data.cells[cell.dataset.cell]));
  cell.replaceChildren(button);
}

// ---- Projections of the map: one at a time.

for (const bar of $$(".tabs")) {
  const buttons = $$("button", bar), tabs = $$(".tab", bar.parentNode);
  const choose = chosen => buttons.forEach((button, place) => {
    button.setAttribute("aria-pressed", place === chosen);
    tabs[place].classList.toggle("other", place !== chosen);
  });
  buttons.forEach((button, place) => button.addEventListener("click", () => choose(place)));
  choose(0);
}

// ---- Light and dark, in memory only; the contents; printing.

const switcher = $("#theme");
function nameSwitch() { switcher.textContent = isDark() ? "Light colours" : "Dark colours"; }
switcher.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameSwitch();
  redraw();
});
systemDark.addEventListener("change", () => { nameSwitch(); redraw(); });
nameSwitch();

const links = new Map($$(".contents a").map(link => [link.hash.slice(1), link]));
const current = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    links.forEach(link => link.removeAttribute("aria-current"));
    links.get(target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-15% 0px -80% 0px" });
$$("section[id]").forEach(section => current.observe(section));
$$(".contents a, .sortable a").forEach(link => link.addEventListener("click", () => {
  const bank = document.getElementById(link.hash.slice(1))?.closest("details.bank");
  if (bank) bank.open = true;
}));
if (!matchMedia("(min-width: 62.01rem)").matches) $(".contents details").open = false;

let folded = [];
addEventListener("beforeprint", () => {
  folded = $$("main details:not([open])");
  folded.forEach(part => { part.open = true; });
  root.classList.add("printing");
  $$("img[data-picture]:not([src])").forEach(showPicture);
  undrawn().forEach(figure => drawFigure(figure, false));
  if (isDark()) redraw(false);
});
addEventListener("afterprint", () => {
  folded.forEach(part => { part.open = false; });
  root.classList.remove("printing");
  if (isDark()) redraw();
});

figures.forEach(figure => nearCharts.observe(figure));
addEventListener("load", () => idle(drawRest));
$$("main details").forEach(part => part.addEventListener("toggle", () => idle(drawRest)));
})();
