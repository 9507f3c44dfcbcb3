"""Ask the class: kept or taken back? Answers are counted in the browser alone, and nothing is sent for them."""

from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from components.card import card
from components.feed import Snapshot

_ASK = st.components.v2.component(
    "lab_ask", js=Path(__file__).with_name("ask.js").read_text(encoding="utf-8"), isolate_styles=False
)
HELP = (
    "Before a change is judged, ask who thinks that it stays. The answers are counted in this browser tab and go "
    "nowhere; they are forgotten when the tab is closed."
)
KEPT, BACK = "kept", "taken back"
VERDICTS = {"accepted": KEPT, "rejected": BACK, KEPT: KEPT, "rolled back": BACK}
"""How a mutation or an action ended -> the answer that was right."""
NOTHING = "Nothing to ask about yet: the first change has not been made."


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
    change = next((each for each in reversed(snapshot.history.changes) if each.status != "refused"), None)
    if change is not None:
        text = f"Mutation {change.number} at step {change.step:,}: {'; '.join(change.lines) or 'no edge was changed'}."
        return Question(
            id=f"{run} mutation {change.number}",
            run=run,
            text=text,
            verdict=VERDICTS.get(change.status, ""),
            reason=change.reason if change.status in VERDICTS else "",
        )
    actions = [action for action in snapshot.history.actions if action.outcome in VERDICTS]
    if not actions:
        return None
    action = actions[-1]
    surgery = ", ".join(f"{part.text} at {part.layer}" if part.layer else part.text for part in action.surgeries)
    return Question(
        id=f"{run} action {action.number}",
        run=run,
        text=f"Action {action.number} at step {action.step:,}, {action.action}: {surgery}.",
        verdict=VERDICTS[action.outcome],
        reason=action.reason,
    )


def ask_panel(snapshot: Snapshot) -> None:
    """The question with its two answers; what came of it once it is known and somebody asks."""
    with card("Ask the class", HELP):
        question = question_of(snapshot)
        if question is None:
            st.write(NOTHING)
            return
        _ASK(key="ask_the_class", data=asdict(question))
