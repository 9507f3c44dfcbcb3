// Draws a Plotly figure into an element that stays: new data moves the curves and keeps the zoom.
// data: figure (text of a Plotly figure), view (what a zoom belongs to), label (for screen readers).

const CONFIG = {
  displaylogo: false,
  responsive: true,
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
  place.style.height = figure.layout.height + "px";
  place.drawing = window.Plotly.react(place, figure.data, figure.layout, CONFIG);
}

export default function ({ data, parentElement }) {
  let place = parentElement.querySelector(".lab-chart");
  if (!place) {
    place = document.createElement("div");
    place.className = "lab-chart";
    place.setAttribute("role", "img");
    parentElement.appendChild(place);
  }
  place.setAttribute("aria-label", data.label);
  clearTimeout(place.waiting);
  const begin = () => {
    if (!window.Plotly) {
      place.textContent = "The chart is on its way.";
      place.waiting = setTimeout(begin, 50);
      return;
    }
    const { color, fontFamily } = getComputedStyle(parentElement);
    const wanted = { text: data.figure, view: data.view, color, family: fontFamily };
    const first = !place.wanted;
    if (!first && Object.keys(wanted).every((name) => wanted[name] === place.wanted[name])) return;
    if (first) place.textContent = "";
    place.wanted = wanted;
    draw(place);
    if (first) keepZoom(place);
  };
  begin();
  // Called at the end, but also when newer data overtook this call: then the element is still there and stays drawn.
  return () => {
    if (parentElement.isConnected) return;
    clearTimeout(place.waiting);
    Promise.resolve(place.drawing).finally(() => window.Plotly?.purge(place));
  };
}
