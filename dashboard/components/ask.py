"""Ask the class: kept or taken back? Answers are counted in the browser alone, and nothing is sent for them."""

from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from components.card import card
from components.charted import charted
from components.feed import Snapshot
from components.language import later, say
from lab.charts import Surgery, agent_actions, mutation_changes

_ASK = st.components.v2.component(
    "lab_ask", js=Path(__file__).with_name("ask.js").read_text(encoding="utf-8"), isolate_styles=False
)
HELP = later(
    "Before a change is judged, ask who thinks that it stays. The answers are counted in this browser tab and go "
    "nowhere; they are forgotten when the tab is closed."
)
KEPT, BACK = "kept", "taken back"
VERDICTS = {"accepted": KEPT, "rejected": BACK, KEPT: KEPT, "rolled back": BACK}
"""How a mutation or an action ended -> the answer that was right."""
NOTHING = later("Nothing to ask about yet: the first change has not been made.")
TEXTS = {
    "question": later("{text} Kept or taken back?"),
    "kept": later("Kept: {count}"),
    "taken back": later("Taken back: {count}"),
    "reveal": later("Reveal"),
    "was kept": later("It was kept."),
    "was taken back": later("It was taken back."),
    "right": later("{right} of {count} answers were right."),
    "score": later("Most of the class was right in {right} of {count} questions."),
    "why": later("Why: {reason}"),
    "open": later("Not decided yet: the network trains on, then the selection split decides."),
    "decided": later("It is decided."),
}
"""What the script says, by its own names."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One change that is to be judged, or was."""

    id: str
    """Run and change: what the browser counts answers under."""
    run: str
    text: str
    verdict: str
    """kept or taken back; empty while it is not known."""
    reason: str
    """Why, once it is known."""


def question_of(snapshot: Snapshot) -> Question | None:
    """The latest change that is judged: a mutation, or an action of the agent; None before the first one."""
    run = f"{snapshot.summary.path}"
    mutations = [change for change in mutation_changes(snapshot.events) if change.status != "refused"]
    if mutations:
        change = mutations[-1]
        edits = "; ".join(map(charted, change.lines)) or say("no edge was changed")
        text = say("Mutation {number} at step {step:,}: {edits}.", number=change.number, step=change.step, edits=edits)
        return Question(
            id=f"{run} mutation {change.number}",
            run=run,
            text=text,
            verdict=VERDICTS.get(change.status, ""),
            reason=change.reason if change.status in VERDICTS else "",
        )
    actions = [action for action in agent_actions(snapshot.events) if action.outcome in VERDICTS]
    if not actions:
        return None
    action = actions[-1]
    surgery = ", ".join(surgery_text(part) for part in action.surgeries)
    return Question(
        id=f"{run} action {action.number}",
        run=run,
        text=say(
            "Action {number} at step {step:,}, {action}: {surgery}.",
            number=action.number,
            step=action.step,
            action=action.action,
            surgery=surgery,
        ),
        verdict=VERDICTS[action.outcome],
        reason=action.reason,
    )


def surgery_text(part: Surgery) -> str:
    """One operation of an action, and where."""
    return say("{operation} at {layer}", operation=part.text, layer=part.layer) if part.layer else part.text


def ask_panel(snapshot: Snapshot) -> None:
    """The question with its two answers; what came of it once it is known and somebody asks."""
    with card(say("Ask the class"), say(HELP)):
        question = question_of(snapshot)
        if question is None:
            st.write(say(NOTHING))
            return
        texts = {name: say(text) for name, text in TEXTS.items()}
        _ASK(key="ask_the_class", data={**asdict(question), "texts": texts})
