"use strict";
// All of this is an addition: without it the page says the same, unsorted and unfiltered.

const CELL = /^#cell-\d+-\d+$/;

function startTheme() {
  const modes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  let mode = modes.includes(stored()) ? stored() : "auto";
  const show = () => {
    document.documentElement.dataset.theme = mode;
    button.textContent = `Theme: ${mode}`;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    mode = modes[(modes.indexOf(mode) + 1) % modes.length];
    store(mode);
    show();
  });
  show();
}

// A page opened from disk may have no storage: the theme then lasts as long as the page.
function stored() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

function store(mode) {
  try {
    localStorage.setItem("theme", mode);
  } catch {
    // Kept by the page itself.
  }
}

// --- Addresses -----------------------------------------------------------------------------------

// In a frame that a notebook fills (`srcdoc`), "#..." alone is an address in the page around it.
function addressOf(hash) {
  return new URL(hash, location.href).href;
}

function startLinks() {
  if (location.protocol !== "about:") return;
  for (const link of document.querySelectorAll("a[href^='#']")) link.href = addressOf(link.hash);
}

// Where a browser refuses this, the page works as well, but Back and the address leave out the cell.
function remember(hash) {
  try {
    history.pushState(null, "", addressOf(hash));
  } catch {
    // The address stays as it was.
  }
}

// --- Contents ------------------------------------------------------------------------------------

function startContents() {
  const contents = document.getElementById("contents");
  if (!contents) return;
  const wide = matchMedia("(min-width: 64rem)");
  const fit = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) contents.open = false;
  });
  markCurrentSection(contents);
}

function markCurrentSection(contents) {
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) links.get(target.id).setAttribute("aria-current", "true");
      else links.get(target.id).removeAttribute("aria-current");
    }
  }, { rootMargin: "-30% 0px -69% 0px" });
  for (const section of document.querySelectorAll("main > section")) observer.observe(section);
}

// --- Sorting -------------------------------------------------------------------------------------

function startSorting() {
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(table, header));
      header.append(button);
    }
  }
}

function sortBy(table, header) {
  const order = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[header.cellIndex]), row]);
  rows.sort(([first], [second]) => sign * compare(first, second));
  body.append(...rows.map(([, row]) => row));
}

function sortKey(cell) {
  const number = cell.querySelector("[data-value]");
  const time = cell.querySelector("time");
  if (number) return Number(number.dataset.value);
  return time ? Date.parse(time.dateTime) : cell.textContent.trim();
}

function compare(first, second) {
  if (typeof first === "number" && typeof second === "number") return first - second;
  return String(first).localeCompare(String(second), "en");
}

// --- Confusion matrix ----------------------------------------------------------------------------

function startMatrix() {
  const data = document.getElementById("matrix-data");
  if (!data) return;
  const matrix = JSON.parse(data.textContent);
  const table = document.getElementById("matrix");
  const region = document.getElementById("cell-gallery");
  const cells = [...table.querySelectorAll("button")];
  let selected = null;

  const show = (cell) => {
    selected?.setAttribute("aria-pressed", "false");
    selected = cell;
    region.hidden = !cell;
    if (!cell) return;
    cell.setAttribute("aria-pressed", "true");
    makeReachable(cells, cell);
    fillGallery(region, cell, matrix);
  };
  const select = (cell) => {
    show(cell);
    remember(`#${cell.id}`);
    enterGallery();
  };
  const enterGallery = () => {
    document.getElementById("cell-heading").focus({ preventScroll: true });
    region.scrollIntoView({ block: "nearest" });
  };
  const leave = () => selected.focus();
  const clear = () => {
    const cell = selected;
    show(null);
    remember("#confusion");
    cell.focus();
  };
  const follow = () => {
    const left = region.contains(document.activeElement) ? selected : null;
    show(CELL.test(location.hash) ? document.querySelector(location.hash) : null);
    // What had the focus is hidden now.
    if (!selected) left?.focus();
  };

  makeReachable(cells, cells[0]);
  table.addEventListener("keydown", (event) => moveInMatrix(event, cells, table));
  table.addEventListener("click", ({ target }) => {
    const cell = target.closest("button");
    if (cell) cell === selected ? clear() : select(cell);
  });
  document.querySelector(".pairs")?.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || forBrowser(event) || event.shiftKey) return;
    event.preventDefault();
    select(document.querySelector(link.hash));
  });
  document.getElementById("cell-back").addEventListener("click", leave);
  document.getElementById("confusion").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && selected) clear();
  });
  addEventListener("popstate", follow);
  follow();
  if (selected) enterGallery();
}

// With these keys held, the browser goes back, opens another tab, and so on.
function forBrowser(event) {
  return event.altKey || event.ctrlKey || event.metaKey;
}

// One cell alone is reached by Tab, the others from there by arrows.
function makeReachable(cells, cell) {
  for (const other of cells) other.tabIndex = other === cell ? 0 : -1;
}

function moveInMatrix(event, cells, table) {
  if (forBrowser(event) || !cells.includes(event.target)) return;
  // Rows may differ in length.
  const rows = [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("button")]);
  const at = rows.findIndex((row) => row.includes(event.target));
  const row = rows[at];
  const column = row.indexOf(event.target);
  const beside = (other) => other && other[Math.min(column, other.length - 1)];
  const next = {
    ArrowLeft: () => row[column - 1],
    ArrowRight: () => row[column + 1],
    ArrowUp: () => beside(rows[at - 1]),
    ArrowDown: () => beside(rows[at + 1]),
    Home: () => row[0],
    End: () => row[row.length - 1],
  }[event.key];
  if (!next) return;
  event.preventDefault();
  const cell = next();
  if (!cell) return;
  makeReachable(cells, cell);
  cell.focus();
}

function fillGallery(region, cell, matrix) {
  const { count, images } = matrix.cells[cell.id.slice("cell-".length)] ?? { count: 0, images: [] };
  region.querySelector("h3").textContent = cell.getAttribute("aria-label");
  document.getElementById("cell-shown").textContent = `Showing ${images.length} of ${count}.`;
  region.querySelector("ul").replaceChildren(...images.map((place) => shot(matrix, place)));
}

function shot(matrix, place) {
  const image = matrix.images[place];
  const tile = make("span", "tile sheet-images");
  tile.setAttribute("role", "img");
  tile.setAttribute("aria-label", about(matrix, image));
  tile.style.setProperty("--x", place % matrix.columns);
  tile.style.setProperty("--y", Math.floor(place / matrix.columns));
  const caption = make("figcaption");
  const label = make("span", "", `true: ${matrix.names[image.label]}`);
  caption.append(outcome(image), answer(matrix, image, place), label, make("small", "", image.id));
  const figure = make("figure", "shot");
  figure.append(tile, caption);
  const item = make("li");
  item.append(figure);
  return item;
}

function about(matrix, image) {
  const answers = image.choices.map(([choice, , text]) => `${matrix.names[choice]} ${text}`);
  return `true ${matrix.names[image.label]}, predicted ${answers.join(", then ")}; example ${image.id}`;
}

function outcome(image) {
  const right = image.choices[0][0] === image.label;
  const symbol = make("span", "", right ? "✓" : "✗");
  symbol.setAttribute("aria-hidden", "true");
  const mark = make("b", right ? "good" : "bad");
  mark.append(symbol, right ? " right" : " wrong");
  return mark;
}

function answer(matrix, image, place) {
  const [choice, probability, text] = image.choices[0];
  const number = make("span", "n", text);
  number.dataset.value = probability;
  number.dataset.path = `images.${place}.choices.0.probability`;
  const line = make("span", "", `${matrix.names[choice]} `);
  line.append(number);
  return line;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

// --- Commands ------------------------------------------------------------------------------------

function startCopying() {
  for (const text of document.querySelectorAll("pre[data-copy]")) {
    const button = make("button", "", "Copy");
    button.type = "button";
    button.addEventListener("click", () => copy(text, button));
    text.after(button);
  }
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    // Without leave to write to the clipboard: marked, so that a key press copies it.
    getSelection().selectAllChildren(text);
    button.textContent = "Marked: press Ctrl+C";
  }
}

document.documentElement.classList.add("js");
document.addEventListener("DOMContentLoaded", () => {
  startTheme();
  startLinks();
  startContents();
  startSorting();
  startMatrix();
  startCopying();
});
