// The slider over a whole run, with replay, and the keys of the wall.
// data: figure and base (what seldom changes, as patch.js has it: speeds, marks ([step, text] of each change), keys (their
// names), texts (what stands here, in the page's language)), last (step), step (the shown one), now (whether that is the
// latest), playing, speed, wall (stands at the foot of the wall and listens to keys), live, heard (number of the last
// message that was answered). Sends move {number, step or null, speed or null, final} and press (a command).

const WAIT = 120;
// Without an answer for so long the next message goes out all the same.
const PATIENCE = 3000;

function element(kind, className, text, label) {
  const made = document.createElement(kind);
  made.className = className;
  if (text) made.textContent = text;
  if (label) made.setAttribute("aria-label", label);
  return made;
}

// The page writes the shown step and the last one into an element of its own too, beside the slider: it changes with the
// numbers of the page, while a component's data comes behind them, on a busy page by some tenths of a second.
function written(place) {
  const mark = place.closest('[data-testid="stVerticalBlock"]')?.querySelector(".lab-step");
  return mark ? { step: Number(mark.dataset.step), last: Number(mark.dataset.last) } : place.data;
}

function follow(place) {
  const around = place.closest('[data-testid="stVerticalBlock"]');
  if (!around) return;
  place.sight = new MutationObserver(() => showStep(place));
  place.sight.observe(around, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-step"] });
}

function showStep(place) {
  if (place.held || place.next || place.data.heard < place.number) return;
  const { step, last } = written(place);
  const range = `${step} of ${last}`;
  // What this writes is seen by the observer as well.
  if (place.shown === range) return;
  place.shown = range;
  place.range.max = last;
  place.range.value = step;
  tell(place, step, last);
}

function build(parent, texts) {
  const place = element("div", "lab-slider");
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", texts.group);
  place.play = element("button", "lab-slider-play");
  place.track = element("div", "lab-slider-track");
  place.marks = element("div", "lab-slider-marks");
  place.marks.setAttribute("aria-hidden", "true");
  place.range = element("input", "lab-slider-range", "", texts.range);
  place.range.type = "range";
  place.range.min = 0;
  place.text = element("output", "lab-slider-text");
  place.speed = element("select", "lab-slider-speed", "", texts.speed);
  place.now = element("button", "lab-slider-now", texts.now, texts.now_label);
  for (const button of [place.play, place.now]) button.type = "button";
  place.track.append(place.marks, place.range);
  place.hint = element("span", "lab-slider-keys");
  place.append(place.play, place.track, place.text, place.speed, place.now, place.hint);
  place.number = 0;
  parent.appendChild(place);
  place.play.onclick = () => toggle(place);
  place.now.onclick = () => move(place, null, null, true);
  place.range.oninput = () => {
    place.held = true;
    place.shown = "";
    tell(place, Number(place.range.value));
    move(place, Number(place.range.value), null, false);
  };
  place.range.onchange = () => {
    place.held = false;
    move(place, Number(place.range.value), null, true);
  };
  place.speed.onchange = () => {
    if (place.data.playing) move(place, place.data.step, Number(place.speed.value), true);
  };
  // The browser's own arrows go by one step: too little on a long run.
  place.range.onkeydown = (event) => {
    if (scrub(place, event)) event.preventDefault();
  };
  return place;
}

function tell(place, step, last = place.data.last) {
  const values = { step: step.toLocaleString("en"), last: last.toLocaleString("en") };
  place.text.textContent = place.data.texts.step.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// One message at a time: the next waits for the answer, and only the latest of those that wait is sent.
function move(place, step, speed, final) {
  place.next = { step: step !== null && speed === null && step >= place.data.last ? null : step, speed, final };
  flush(place);
}

function flush(place) {
  clearTimeout(place.timer);
  if (!place.next) return;
  const since = performance.now() - (place.sent ?? -PATIENCE);
  const answered = place.data.heard >= place.number;
  if (since < WAIT || (!answered && since < PATIENCE)) {
    place.timer = setTimeout(() => flush(place), WAIT);
    return;
  }
  place.number = Math.max(place.number, place.data.heard) + 1;
  place.sent = performance.now();
  place.send("move", { number: place.number, ...place.next });
  place.next = null;
}

function toggle(place) {
  const { playing, now, step } = place.data;
  if (playing) move(place, step, null, true);
  else move(place, now ? 0 : step, Number(place.speed.value), true);
}

// An arrow goes on by a hundredth of the run, with Shift by one step.
function scrub(place, event) {
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!way) return false;
  const size = event.shiftKey ? 1 : Math.max(1, Math.round(place.data.last / 100));
  const from = place.next?.step ?? Number(place.range.value);
  const step = Math.min(Math.max(from + way * size, 0), place.data.last);
  place.range.value = step;
  place.shown = "";
  tell(place, step);
  move(place, step, null, true);
  return true;
}

// The number makes two presses of one key two messages.
function press(place, command) {
  place.send("press", { command, number: performance.now() });
}

function onKey(place, event) {
  // One that the page has made anew is deaf: two would answer one press, each by what it knew.
  if (!place.isConnected || window.labSlider !== place) {
    window.removeEventListener("keydown", place.keys);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const key = event.key.toLowerCase();
  const field = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (field && field !== place.range) return;
  // A button answers the space bar itself.
  if (key === " " && event.target.closest?.("button, a")) return;
  if (key === " ") {
    if (place.data.live && place.data.now) press(place, "pause");
    else toggle(place);
  } else if (key === "m" && !event.repeat) press(place, "mutate");
  else if (key === "f" && !event.repeat) {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen();
  } else if (!scrub(place, event)) return;
  event.preventDefault();
}

function show(place) {
  const { data } = place;
  place.classList.toggle("lab-slider-wall", data.wall);
  if (place.hint.textContent !== data.keys) place.hint.textContent = data.keys;
  showStep(place);
  place.range.setAttribute("aria-valuetext", place.text.textContent);
  const { pause, replay, play } = data.texts;
  const word = data.playing ? pause : data.now ? replay : play;
  place.play.textContent = data.playing ? "❚❚" : "▶";
  place.play.setAttribute("aria-label", word);
  place.play.title = word;
  place.now.disabled = data.now && !data.playing;
  if (place.speed.options.length !== data.speeds.length) {
    place.speed.replaceChildren(...data.speeds.map((speed) => new Option(`${speed} ×`, speed)));
    place.speed.value = data.speed;
  }
  const marks = JSON.stringify([data.marks, data.last]);
  if (place.marked !== marks) {
    place.marked = marks;
    place.marks.replaceChildren(
      ...data.marks.map(([step, text]) => {
        const mark = element("span", "lab-slider-mark");
        mark.style.left = `${(100 * step) / Math.max(data.last, 1)}%`;
        mark.title = text;
        return mark;
      }),
    );
  }
  flush(place);
}

function update(parentElement, { figure: text, base, ...rest }, setTriggerValue) {
  const data = { ...made({ text, base }), ...rest };
  let place = parentElement.querySelector(".lab-slider");
  if (!place) {
    place = build(parentElement, data.texts);
    place.data = data;
    follow(place);
    place.keys = (event) => onKey(place, event);
    if (data.wall) window.addEventListener("keydown", place.keys);
    if (data.wall) window.labSlider = place;
  }
  place.send = setTriggerValue;
  place.data = data;
  show(place);
}

export default function ({ data, parentElement, setTriggerValue }) {
  let wait;
  const go = () => {
    if (hasBase(data.base)) update(parentElement, data, setTriggerValue);
    else wait = setTimeout(go, 20);
  };
  go();
  // Called when newer data overtook this call, too: then the element is still there.
  return () => {
    clearTimeout(wait);
    const place = parentElement.querySelector(".lab-slider");
    if (parentElement.isConnected || !place) return;
    clearTimeout(place.timer);
    place.sight?.disconnect();
    window.removeEventListener("keydown", place.keys);
  };
}
