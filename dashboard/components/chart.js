// Draws a Plotly figure into an element that stays: new data moves the curves and keeps the zoom.
// data: figure (text of a Plotly figure), height (pixels), view (what a zoom belongs to), label (for screen readers).

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
    draw(place);
  });
}

function draw(place) {
  const { text, view, color, family } = place.wanted;
  const figure = JSON.parse(text);
  Object.assign(figure.layout.font, { color, family });
  for (const trace of figure.data) if (trace.type === "heatmap") trace.textfont.color = color;
  if (place.view !== view) place.zoom = {};
  place.view = view;
  for (const [axis, range] of Object.entries(place.zoom)) {
    if (figure.layout[axis]) Object.assign(figure.layout[axis], { range, autorange: false });
  }
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
  // The library is a component of its own, and may come after the first chart.
  if (!window.Plotly) {
    place.waiting = setTimeout(() => begin(place), 50);
    return;
  }
  place.late = false;
  if (!place.drawing) place.textContent = "";
  const first = !place.drawing;
  draw(place);
  if (first) keepZoom(place);
}

export default function ({ data, parentElement }) {
  let place = parentElement.querySelector(".lab-chart");
  if (!place) {
    place = document.createElement("div");
    place.className = "lab-chart";
    place.setAttribute("role", "img");
    place.textContent = "The chart is on its way.";
    place.zoom = {};
    parentElement.appendChild(place);
  }
  place.setAttribute("aria-label", data.label);
  place.style.height = data.height + "px";
  const { color, fontFamily: family } = getComputedStyle(parentElement);
  const wanted = { text: data.figure, view: data.view, color, family };
  if (!place.wanted || Object.keys(wanted).some((name) => wanted[name] !== place.wanted[name])) {
    place.wanted = wanted;
    drawInSight(place);
  }
  // Called at the end, but also when newer data overtook this call: then the element is still there and stays drawn.
  return () => {
    if (parentElement.isConnected) return;
    clearTimeout(place.waiting);
    place.sight?.disconnect();
    Promise.resolve(place.drawing).finally(() => window.Plotly?.purge(place));
  };
}
