// Keeps a page alive that draws itself anew at each tick.
// Streamlit sets the browser's timer by one message of each full run. A tick that reaches the server while the last
// messages of such a run are still on their way makes it drop them: then no tick comes any more. A run that ended early
// sets no timer either.
// data: late (milliseconds after which a tick is missing). The ticks themselves are told by a script of a line, clock.py.

const STEP = 500;
// Each time in vain doubles the wait, up to this many times.
const MOST = 16;

// A message of Streamlit for a place that another run has changed since ends the drawing of the whole page: nothing is
// left of it. The address has all of the view, so the page is loaded anew; not again within so many milliseconds.
const BROKEN = /'setIn' cannot be called|Bad delta path/;
const RELOAD = 10_000;

function onError(message) {
  const last = Number(sessionStorage.getItem("lab-reload"));
  if (!BROKEN.test(message) || Date.now() - last < RELOAD) return;
  sessionStorage.setItem("lab-reload", Date.now());
  window.location.reload();
}

function watchErrors() {
  if (window.labErrors) return;
  window.labErrors = true;
  window.addEventListener("error", (event) => onError(event.message));
  window.addEventListener("unhandledrejection", (event) => onError(String(event.reason?.message)));
}

function clock() {
  return (window.labClock ??= { tick: undefined, seen: performance.now(), patience: 1 });
}

// Told as the browser's own words are: a tab behind another one, a window that is minimised.
function tellHidden(place) {
  if (place.hidden_ === document.hidden) return;
  place.hidden_ = document.hidden;
  place.tell(document.hidden);
}

function look(place) {
  place.timer = setTimeout(() => look(place), STEP);
  const shared = clock();
  // A hidden page gets few timers; it has until it is seen again.
  if (document.hidden) shared.seen = performance.now();
  if (performance.now() - shared.seen < place.late * shared.patience) return;
  shared.seen = performance.now();
  shared.patience = Math.min(2 * shared.patience, MOST);
  place.ask();
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  let place = parentElement.querySelector(".lab-clock");
  if (!place) {
    place = document.createElement("div");
    place.className = "lab-clock";
    parentElement.appendChild(place);
    place.hidden_ = false;
    place.onHidden = () => tellHidden(place);
    document.addEventListener("visibilitychange", place.onHidden);
    clock().seen = performance.now();
    watchErrors();
    place.timer = setTimeout(() => look(place), STEP);
  }
  place.late = data.late;
  place.ask = () => setTriggerValue("late", performance.now());
  place.tell = (hidden) => setStateValue("hidden", hidden);
  tellHidden(place);
  // Called when newer data overtook this call, too: then the element is still there.
  return () => {
    if (parentElement.isConnected) return;
    clearTimeout(place.timer);
    document.removeEventListener("visibilitychange", place.onHidden);
  };
}
