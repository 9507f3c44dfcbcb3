// The wall: one screen for a projector, drawn over the whole window. Stands behind figure.js.
// data: name, live (address of the live page), state, about, facts ([label, value]), sign, story, now, answer, view,
// panels ({area, title, label, figure, base}), texts (what stands here, in the page's language).

// Sizes of a figure are for a page that is read from near: on the wall each is that much larger, text at least so large
// (pixels at 1920x1080).
const LARGER = 1.6;
const LEAST = 20;
// A window up to this width is read from near: wall.css makes one column of it. Its figures are those of the page.
const NARROW = "(max-width: 900px)";

function wallElement(kind, name, parent) {
  const made = document.createElement(kind);
  made.className = `lab-wall-${name}`;
  parent.appendChild(made);
  return made;
}

function buildWall(parent, texts) {
  const place = wallElement("section", "page", parent);
  place.classList.add("lab-wall");
  place.setAttribute("aria-label", texts.wall);
  const head = wallElement("header", "head", place);
  place.name = wallElement("h1", "name", head);
  place.state = wallElement("span", "state", head);
  place.facts = wallElement("dl", "facts", head);
  place.link = wallElement("a", "link", head);
  place.link.textContent = texts.link;
  place.panels = {};
  for (const area of ["main", "side", "left", "middle", "right"]) {
    const panel = wallElement("div", "panel", place);
    panel.style.gridArea = area;
    panel.title_ = wallElement("h2", "title", panel);
    const room = wallElement("div", "room", panel);
    panel.chart = makeChart(room, texts.waiting);
    panel.chart.shape = (figure) => enlarge(panel.chart, figure);
    // The figure fills what room there is, also after the window has changed.
    panel.sizes = new ResizeObserver(() => {
      if (panel.chart.drawing) begin(panel.chart);
    });
    panel.sizes.observe(room);
    place.panels[area] = panel;
  }
  place.said = wallElement("div", "said", place);
  place.said.setAttribute("role", "status");
  place.sign = wallElement("span", "sign", place.said);
  place.sign.setAttribute("aria-hidden", "true");
  const lines = wallElement("div", "texts", place.said);
  place.story = wallElement("p", "story", lines);
  place.below = wallElement("p", "now", lines);
  return place;
}

// Parts of a figure that stand one below the other, each on axes of its own: the wall is wide and low.
function besideEachOther(layout) {
  const { rows } = layout.meta;
  for (let number = 0; number < rows; number += 1) {
    const end = number === 0 ? "" : number + 1;
    const [low, high] = layout[`yaxis${end}`].domain;
    layout[`xaxis${end}`].domain = [number / rows, (number + 1) / rows];
    layout[`yaxis${end}`].domain = [0, rows * (high - low)];
  }
}

// Sizes that a figure gives in pixels, for the wall.
function enlarge(chart, figure) {
  const { layout, data } = figure;
  const room = chart.parentElement;
  const narrow = matchMedia(NARROW).matches;
  room.style.height = narrow ? `${layout.height}px` : "";
  layout.height = room.clientHeight;
  layout.width = room.clientWidth;
  if (narrow) return;
  if (layout.meta?.rows > 1) besideEachOther(layout);
  const unit = parseFloat(getComputedStyle(chart.closest(".lab-wall")).fontSize) / LEAST;
  const size = (pixels) => unit * Math.max(LEAST, LARGER * pixels);
  const grow = (pixels) => unit * LARGER * pixels;
  const base = layout.font.size ?? 13;
  layout.font.size = size(base);
  layout.margin = Object.fromEntries(Object.entries(layout.margin ?? {}).map(([side, value]) => [side, grow(value)]));
  for (const note of layout.annotations ?? []) {
    note.font = { ...note.font, size: size(note.font?.size ?? base) };
    if (note.xshift) note.xshift = grow(note.xshift);
    if (note.yshift) note.yshift = grow(note.yshift);
  }
  for (const shape of layout.shapes ?? []) if (shape.line?.width) shape.line.width = grow(shape.line.width);
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    const axis = layout[name];
    if (axis.title?.standoff) axis.title.standoff = grow(axis.title.standoff);
    // Large numbers need room: as many as fit. Names of categories are all needed.
    if (axis.type !== "category") axis.nticks ??= name.startsWith("x") ? 6 : 4;
  }
  for (const trace of data) {
    if (trace.textfont?.size) trace.textfont.size = size(trace.textfont.size);
    if (typeof trace.marker?.size === "number") trace.marker.size = grow(trace.marker.size);
    if (trace.line?.width) trace.line.width = grow(trace.line.width);
  }
  if (layout.legend) layout.legend.itemwidth = Math.max(30, grow(24));
}

function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function showWall(place, data) {
  setText(place.name, data.name);
  setText(place.state, [data.about, data.state].filter(Boolean).join(" · "));
  const facts = JSON.stringify(data.facts);
  if (place.told !== facts) {
    place.told = facts;
    place.facts.replaceChildren(
      ...data.facts.map(([label, value]) => {
        const fact = document.createElement("div");
        fact.append(document.createElement("dt"), document.createElement("dd"));
        fact.firstChild.textContent = label;
        fact.lastChild.textContent = value;
        return fact;
      }),
    );
  }
  place.link.href = data.live;
  setText(place.sign, data.sign);
  setText(place.story, data.story);
  setText(place.below, data.answer || data.now);
  place.below.classList.toggle("lab-wall-answer", Boolean(data.answer));
  for (const { area, title, label, figure, base } of data.panels) {
    setText(place.panels[area].title_, title);
    showFigure(place.panels[area].chart, { figure, base, label, view: data.view });
  }
}

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".lab-wall") ?? buildWall(parentElement, data.texts);
  showWall(place, data);
  // Called when newer data overtook this call, too: then the element is still there.
  return () => {
    if (parentElement.isConnected) return;
    for (const panel of Object.values(place.panels)) {
      panel.sizes.disconnect();
      endChart(panel.chart);
    }
  };
}
