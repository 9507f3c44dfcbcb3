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
  place.drawing = window.Plotly.react(place, figure.data, figure.layout, CONFIG);
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
