// Ask the class: two buttons that count, and the outcome once it is known and somebody asks for it.
// data: id (what is asked about), run, text, verdict ("kept", "taken back", or "" while it is open), reason, revealed, texts
// (what stands here, in the page's language).
// The counts live in this tab: none is sent, so neither the server nor another tab ever knows them. Sends reveal (the
// id): the page then shows what it held back.

const ANSWERS = ["kept", "taken back"];

function counts(data) {
  const all = (window.labAnswers ??= {});
  return (all[data.id] ??= { run: data.run, kept: 0, "taken back": 0, verdict: "", shown: false });
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function element(kind, text = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function button(text, press) {
  const made = element("button", text);
  made.type = "button";
  made.style.cssText =
    "font:inherit;color:inherit;background:transparent;border:1px solid currentColor;border-radius:.5rem;" +
    "padding:.5rem .9rem;margin:0 .5rem .5rem 0;cursor:pointer;min-height:2.75rem";
  made.addEventListener("click", press);
  return made;
}

function build(parentElement) {
  const place = element("div");
  place.className = "lab-ask";
  place.question = element("p");
  place.buttons = ANSWERS.map((answer) =>
    button("", () => {
      counts(place.data)[answer] += 1;
      show(place);
    }),
  );
  place.reveal = button("", () => {
    counts(place.data).shown = true;
    place.send("reveal", place.data.id);
    show(place);
  });
  place.outcome = element("p");
  place.outcome.setAttribute("role", "status");
  place.append(place.question, ...place.buttons, place.reveal, place.outcome);
  parentElement.appendChild(place);
  return place;
}

// Of the questions of this run that were revealed and answered: how often most of the class was right.
function score({ run, texts }) {
  const asked = Object.values(window.labAnswers).filter(
    (each) => each.run === run && each.shown && each.kept !== each["taken back"],
  );
  const right = asked.filter((each) => (each.kept > each["taken back"] ? "kept" : "taken back") === each.verdict);
  return asked.length > 1 ? ` ${fill(texts.score, { right: right.length, count: asked.length })}` : "";
}

function show(place) {
  const { data } = place;
  const { texts } = data;
  const own = counts(data);
  own.verdict = data.verdict;
  own.shown ||= data.revealed;
  const shown = own.shown && data.verdict !== "";
  place.question.textContent = fill(texts.question, data);
  place.buttons.forEach((each, number) => {
    const answer = ANSWERS[number];
    each.textContent = fill(texts[answer], { count: own[answer] });
    each.disabled = shown;
    each.style.opacity = shown ? 0.6 : 1;
  });
  place.reveal.textContent = texts.reveal;
  place.reveal.hidden = data.verdict === "" || shown;
  if (shown) {
    const all = own.kept + own["taken back"];
    const right = all ? ` ${fill(texts.right, { right: own[data.verdict], count: all })}` : "";
    const sign = data.verdict === "kept" ? "✔" : "✘";
    const told = `${sign} ${texts[`was ${data.verdict}`]}${right}${score(data)}`;
    place.outcome.textContent = [told, fill(texts.why, data)].join(" ");
  } else place.outcome.textContent = data.verdict === "" ? texts.open : texts.decided;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const place = parentElement.querySelector(".lab-ask") ?? build(parentElement);
  place.data = data;
  place.send = setTriggerValue;
  show(place);
}
