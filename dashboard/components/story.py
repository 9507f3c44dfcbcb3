"""What happened last in a run and why, in one sentence, from the records that the trainer wrote."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from components.behaviour import phase_sentence
from components.charted import charted
from components.feed import Snapshot
from components.language import say
from components.words import number
from lab.charts import OUTCOME_STYLES, STATUS_SIGNS
from lab.store import EventRow


@dataclass(frozen=True, kw_only=True)
class Story:
    """A sentence, the sign before it, and what goes on now."""

    sign: str
    text: str
    """What happened last, and why."""
    now: str
    """What the current phase does; empty where `text` says it, or where nothing goes on."""


def latest_story(snapshot: Snapshot) -> Story:
    """The latest change of the network or of its training; before the first one, what the current phase does."""
    event = snapshot.history.latest(*_TELLERS)
    now = _phase_text(snapshot.latest("phase"))
    if event is None:
        return Story(sign="○", text=now or say("Nothing has changed in this run."), now="")
    sign, text = _TELLERS[event.kind](snapshot, event)
    return Story(sign=sign, text=say("Step {step:,}: {text}.", step=event.step, text=text.removesuffix(".")), now=now)


def _phase_text(event: EventRow | None) -> str:
    if event is None:
        return ""
    phase = str(event.payload["phase"])
    if phase == "finished":
        return say("The run has finished.")
    return phase_sentence(phase).replace("*", "")


def _mutation(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    number_now = event.payload["number"]
    change = next(row for row in reversed(snapshot.history.changes) if row.number == number_now)
    edits = "; ".join(map(charted, change.lines)) or say("no edge")
    sign = STATUS_SIGNS.get(change.status, "?")
    status = charted(change.status)
    head = say("mutation {number} is {status} ({edits})", number=change.number, status=status, edits=edits)
    if change.status == "applied":
        asked, moved = charted(change.requested_text), charted(change.difference_text)
        text = say("{head}, {asked}; {moved}; {reason}", head=head, asked=asked, moved=moved, reason=change.reason)
    else:
        text = say("{head}: {reason}", head=head, reason=change.reason)
    return sign, text


def _growth(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    payload = event.payload
    text = say(
        "the network grows in {what} at {where}: {before:,} → {after:,} parameters; output changed by {moved}",
        what=say(str(payload["what"])),
        where=payload["where"],
        before=payload["parameters_before"],
        after=payload["parameters_after"],
        moved=number(payload["difference"], ".1e"),
    )
    return "⬆", text


def _rollback(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    payload = event.payload
    text = say("the network goes back to step {step:,}: {reason}", step=payload["to_step"], reason=payload["reason"])
    return "↺", text


def _intervention(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    payload = event.payload
    change = ""
    if payload.get("before") is not None and payload.get("after") is not None:
        change = f" ({number(payload['before'])} → {number(payload['after'])})"
    action = f"{str(payload['action']).replace('_', ' ')}{change}"
    return "⚑", say("the trainer acts, {action}: {reason}", action=action, reason=payload["reason"])


def _action(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    action = snapshot.history.actions[-1]
    measured = action.loss_change is not None
    why = action.reason or (say("loss change {change} nats", change=charted(action.loss_text)) if measured else "")
    text = say("action {number}, {outcome}", number=action.number, outcome=charted(action.outcome_text))
    sign = OUTCOME_STYLES[action.outcome].sign
    return sign, say("{head}: {reason}", head=text, reason=why) if why else text


_TELLERS: Mapping[str, Callable[[Snapshot, EventRow], tuple[str, str]]] = MappingProxyType(
    {
        "mutation": _mutation,
        "growth": _growth,
        "rollback": _rollback,
        "intervention": _intervention,
        "action": _action,
    }
)
"""Kind of event -> what says it: sign and sentence."""
