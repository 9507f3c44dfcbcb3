"""Ask the class: kept or taken back? Answers are counted in the browser alone.

While the class is asked, the page shows the run as it was before the first change whose outcome nobody has revealed:
figures, numbers and sentences alike. What a browser tab has revealed is known to that tab.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from components.card import card
from components.charted import charted
from components.feed import Snapshot
from components.language import later, say
from components.scripts import part
from components.words import has_no_cell
from lab.charts import Surgery

_ASK = part("ask")
HELP = later(
    "Before a change is judged, ask who thinks that it stays. The answers are counted in this browser tab and go "
    "nowhere; they are forgotten when the tab is closed."
)
SWITCH = later("Ask the class")
SWITCH_HELP = later(
    "The page holds back how a change ended, in every figure, number and sentence, until *Reveal* is pressed. What is "
    "decided when it is switched on is known, but for the latest change."
)
OFF = later(
    "Switch *Ask the class* on, beside the buttons above: then nothing on this page tells how a change ended until it "
    "is revealed."
)
KEPT, BACK = "kept", "taken back"
VERDICTS = {"accepted": KEPT, "rejected": BACK, KEPT: KEPT, "rolled back": BACK}
"""How a mutation or an action ended -> the answer that was right."""
NOTHING = later("Nothing to ask about: no change has been made.")
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
REVEALED_SECONDS = 15.0
"""For so long a revealed question stays where the next one waits already."""
KEY, _REVEALED = "ask_the_class", "revealed_changes"


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
    decided: int | None
    """Step from which on the run tells how it ended; None while it is not known."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the class is asked now."""

    question: Question | None
    """None before the first change."""
    until: int | None
    """The last step that tells no outcome which is still to be revealed; None where all may be seen."""
    revealed: bool
    """Whether the outcome of the question was revealed in this browser tab."""


def can_ask(snapshot: Snapshot) -> bool:
    """Whether the run changes its network, so that there is something to ask about."""
    return not has_no_cell(snapshot) and snapshot.config.get("recipe") != "fixed"


def questions_of(snapshot: Snapshot) -> tuple[Question, ...]:
    """The changes that are judged, in order: mutations, or else actions of the agent."""
    run = f"{snapshot.summary.path}"
    changes = [change for change in snapshot.history.changes if change.status != "refused"]
    if changes:
        told = [event for event in snapshot.of("mutation") if event.payload["status"] in VERDICTS]
        # The first event with a verdict: what comes after may tell it once more.
        steps = {int(event.payload["number"]): event.step for event in reversed(told)}
        return tuple(
            Question(
                id=f"{run} mutation {change.number}",
                run=run,
                text=say(
                    "Mutation {number} at step {step:,}: {edits}.",
                    number=change.number,
                    step=change.step,
                    edits="; ".join(map(charted, change.lines)) or say("no edge was changed"),
                ),
                verdict=VERDICTS.get(change.status, ""),
                reason=change.reason if change.status in VERDICTS else "",
                decided=steps.get(change.number),
            )
            for change in changes
        )
    found = []
    for action in snapshot.history.actions:
        if action.outcome in VERDICTS:
            found.append(
                Question(
                    id=f"{run} action {action.number}",
                    run=run,
                    text=say(
                        "Action {number} at step {step:,}, {action}: {surgery}.",
                        number=action.number,
                        step=action.step,
                        action=action.action,
                        surgery=", ".join(map(surgery_text, action.surgeries)),
                    ),
                    verdict=VERDICTS[action.outcome],
                    reason=action.reason,
                    decided=action.step,
                )
            )
    return tuple(found)


def surgery_text(part: Surgery) -> str:
    """One operation of an action, and where."""
    return say("{operation} at {layer}", operation=part.text, layer=part.layer) if part.layer else part.text


def pick_question(questions: Sequence[Question], revealed: Mapping[str, float], now: float) -> Asked:
    """The question that was just revealed, else the first that waits for it, else the latest change.

    Args:
        questions: in order.
        revealed: id of a question -> when its outcome was revealed, in seconds as `now`.
    """
    waiting = [each for each in questions if each.decided is not None and each.id not in revealed]
    fresh = [each for each in questions if now - revealed.get(each.id, -math.inf) < REVEALED_SECONDS]
    question = next(iter((*fresh[-1:], *waiting, *questions[-1:])), None)
    steps = [each.decided - 1 for each in waiting if each.decided is not None]
    return Asked(
        question=question, until=min(steps, default=None), revealed=question is not None and question.id in revealed
    )


def ask(snapshot: Snapshot) -> Asked:
    """What this browser tab asks about the run.

    When it begins to ask, how earlier changes ended is known; the latest one is asked about.
    """
    questions, run = questions_of(snapshot), f"{snapshot.summary.path}"
    known: dict[str, dict[str, float]] = st.session_state.setdefault(_REVEALED, {})
    if run not in known:
        known[run] = {each.id: -math.inf for each in questions[:-1] if each.decided is not None}
    return pick_question(questions, known[run], time.time())


def stop_asking(run_dir: Path) -> None:
    """Forget what was revealed: who switches it on again begins anew."""
    st.session_state.get(_REVEALED, {}).pop(f"{run_dir}", None)


def _reveal(run: str) -> None:
    st.session_state[_REVEALED][run][str(st.session_state[KEY].reveal)] = time.time()


def ask_panel(asked: Asked | None) -> None:
    """The question with its two answers; how it ended once it is known and somebody asks.

    Args:
        asked: None where the class is not asked: then the panel says how to begin.
    """
    with card(say("Ask the class"), say(HELP)):
        if asked is None or asked.question is None:
            st.write(say(OFF if asked is None else NOTHING))
            return
        texts = {name: say(text) for name, text in TEXTS.items()}
        data = {**asdict(asked.question), "revealed": asked.revealed, "texts": texts}
        _ASK(key=KEY, data=data, on_reveal_change=partial(_reveal, asked.question.run))
