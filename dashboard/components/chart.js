// One chart. Stands behind figure.js.
// data: figure (text of a Plotly figure, or of a patch), base (id of what is patched, or empty), height (pixels), view
// (what a zoom belongs to), label (for screen readers), waiting (what stands there until it is drawn).

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".lab-chart") ?? makeChart(parentElement, data.waiting);
  place.style.height = data.height + "px";
  showFigure(place, data);
  // Called at the end, but also when newer data overtook this call: then the element is still there and stays drawn.
  return () => {
    if (!parentElement.isConnected) endChart(place);
  };
}
