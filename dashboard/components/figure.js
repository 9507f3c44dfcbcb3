// Draws Plotly figures into elements that stay: new data moves the curves and keeps the zoom. For the chart and the wall,
// whose scripts stand behind this one, which stands behind patch.js. An element holds `wanted` (text of a figure or of a patch, id of its base, view that a
// zoom belongs to, color, family), `zoom`, and where it likes `shape`, which changes a figure before it is drawn.

const CONFIG = {
  displaylogo: false,
  responsive: true,
  // keepZoom answers it: the zoom that is kept has to be forgotten too.
  doubleClick: false,
  modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d"], ["toImage"]],
};

// Plotly's own memory of a zoom (uirevision) gives up when the figure's range has moved, as it does while a run goes on.
function keepZoom(place) {
  place.on("plotly_relayout", (change) => {
    for (const axis of Object.keys(place.layout).filter((name) => /^[xy]axis\d*$/.test(name))) {
      if (`${axis}.range` in change || `${axis}.range[0]` in change) place.zoom[axis] = [...place.layout[axis].range];
    }
  });
  place.on("plotly_doubleclick", () => {
    place.zoom = {};
    begin(place);
  });
}

// Axes that stand closer than this, in pixels, are a knot: a narrow page scrolls sideways instead.
const AXIS_WIDTH = 96;

// Labels of a cell on a chart of this width, in pixels, or less would lie on each other.
const NARROW_CELL = 420;
const SMALLEST = 11;

function shrinkLabels(place, { layout }) {
  if (!layout.meta?.rows || place.clientWidth > NARROW_CELL) return;
  for (const note of layout.annotations) note.font = { ...note.font, size: SMALLEST };
}

function widen(place, { data, layout }) {
  const [first] = data;
  // Asking for a width lays the page out: only where it matters.
  if (first?.type !== "parcoords") return;
  const { l = 0, r = 0 } = layout.margin ?? {};
  const least = l + r + AXIS_WIDTH * (first.dimensions.length - 1);
  const narrow = least > place.clientWidth;
  if (narrow) layout.width = least;
  place.style.overflowX = narrow ? "auto" : "";
  // What scrolls is to be reached by keyboard.
  if (narrow) place.tabIndex = 0;
  else place.removeAttribute("tabindex");
}

// Numbers in the cells of a heat map that are larger than the cells: their signs stay, the colours and the hover have the
// rest. How large a cell is, Plotly knows when it has drawn.
function thinCells(place) {
  const { xaxis, yaxis } = place._fullLayout ?? {};
  (place.data ?? []).forEach((trace, index) => {
    if (trace.type !== "heatmap" || !trace.texttemplate || !yaxis?._length || !Array.isArray(trace.text)) return;
    const { size } = trace.textfont;
    const letters = Math.max(...trace.text.flat().map((text) => text.length));
    const fits = yaxis._length >= size * trace.text.length && xaxis._length >= 0.55 * size * letters * trace.text[0].length;
    if (fits) return;
    const signs = trace.text.map((row) => row.map((text) => (/^[◆▲]/.test(text) ? text[0] : "")));
    const font = { ...trace.textfont, size: Math.min(size, yaxis._length / trace.text.length) };
    window.Plotly.restyle(place, { text: [signs], textfont: [font] }, [index]);
  });
}

function draw(place) {
  const { view, color, family } = place.wanted;
  const figure = made(place.wanted);
  Object.assign(figure.layout.font, { color, family });
  for (const trace of figure.data) if (trace.type === "heatmap") trace.textfont.color = color;
  if (place.view !== view) place.zoom = {};
  place.view = view;
  for (const [axis, range] of Object.entries(place.zoom)) {
    if (figure.layout[axis]) Object.assign(figure.layout[axis], { range, autorange: false });
  }
  place.shape?.(figure);
  widen(place, figure);
  shrinkLabels(place, figure);
  place.drawing = window.Plotly.react(place, figure.data, figure.layout, CONFIG).then(() => thinCells(place));
}

// A chart that is out of sight is drawn when it comes into sight: a long page costs what can be seen of it.
function drawInSight(place) {
  if (!place.sight) {
    place.sight = new IntersectionObserver((entries) => {
      // On a busy page several changes come at once, the latest last.
      place.seen = entries.at(-1).isIntersecting;
      if (place.seen && place.late) begin(place);
    });
    place.sight.observe(place);
  }
  place.late = true;
  if (place.seen) begin(place);
}

function begin(place) {
  clearTimeout(place.waiting);
  // The library is a component of its own, too, and may come after the first chart.
  if (!window.Plotly || !hasBase(place.wanted.base)) {
    place.waiting = setTimeout(() => begin(place), 50);
    return;
  }
  place.late = false;
  if (!place.drawing) place.textContent = "";
  const first = !place.drawing;
  draw(place);
  // What is drawn has its label; only the toolbar is left to be read.
  for (const drawing of place.querySelectorAll(".main-svg")) drawing.setAttribute("aria-hidden", "true");
  if (first) keepZoom(place);
}

function makeChart(parent, waiting) {
  const place = document.createElement("div");
  place.className = "lab-chart";
  // No img: the buttons of Plotly's toolbar stand in it, and a picture has no parts.
  place.setAttribute("role", "figure");
  place.textContent = waiting;
  place.zoom = {};
  parent.appendChild(place);
  return place;
}

function showFigure(place, { figure: text, base, view, label }) {
  place.setAttribute("aria-label", label);
  const { color, fontFamily: family } = getComputedStyle(place.parentElement);
  const wanted = { text, base, view, color, family };
  if (!place.wanted || Object.keys(wanted).some((name) => wanted[name] !== place.wanted[name])) {
    place.wanted = wanted;
    drawInSight(place);
  }
}

function endChart(place) {
  clearTimeout(place.waiting);
  place.sight?.disconnect();
  Promise.resolve(place.drawing).finally(() => window.Plotly?.purge(place));
}
