// Draws a Plotly figure into an element that stays: new data moves the curves and keeps the zoom.
// data: figure (text of a Plotly figure), view (what the zoom belongs to), label (for screen readers).
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
  const draw = () => {
    if (!window.Plotly) {
      place.textContent = "The chart is on its way.";
      place.waiting = setTimeout(draw, 50);
      return;
    }
    const { color, fontFamily } = getComputedStyle(parentElement);
    const drawn = [data.figure, data.view, color].join();
    if (place.drawn === drawn) return;
    if (!place.drawn) place.textContent = "";
    place.drawn = drawn;
    const figure = JSON.parse(data.figure);
    Object.assign(figure.layout.font, { color, family: fontFamily });
    for (const trace of figure.data) if (trace.type === "heatmap") trace.textfont.color = color;
    figure.layout.uirevision = data.view;
    place.style.height = figure.layout.height + "px";
    window.Plotly.react(place, figure.data, figure.layout, {
      displaylogo: false,
      responsive: true,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  };
  draw();
  return () => {
    clearTimeout(place.waiting);
    if (window.Plotly) window.Plotly.purge(place);
    place.remove();
  };
}
