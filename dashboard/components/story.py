"""What happened last in a run and why, in one sentence, from the records that the trainer wrote."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from components.behaviour import PHASE_SENTENCES, TRAINED
from components.feed import Snapshot
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
        return Story(sign="○", text=now or "The run has begun; nothing has changed yet.", now="")
    sign, text = _TELLERS[event.kind](snapshot, event)
    return Story(sign=sign, text=f"Step {event.step:,}: {text.removesuffix('.')}.", now=now)


def _phase_text(event: EventRow | None) -> str:
    if event is None:
        return ""
    phase = str(event.payload["phase"])
    if phase == "finished":
        return "The run has finished."
    sentence = PHASE_SENTENCES.get(phase, "")
    return f"{sentence.format(trained=TRAINED.get(phase, '')).replace('*', '')}." if sentence else ""


def _mutation(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    number_now = event.payload["number"]
    change = next(row for row in reversed(snapshot.history.changes) if row.number == number_now)
    edits = "; ".join(change.lines) or "no edge"
    sign = STATUS_SIGNS.get(change.status, "?")
    head = f"mutation {change.number} is {change.status} ({edits})"
    if change.status == "applied":
        return sign, f"{head}, {change.requested_text}; {change.difference_text}; {change.reason}"
    return sign, f"{head}: {change.reason}"


def _growth(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    payload = event.payload
    sizes = f"{payload['parameters_before']:,} → {payload['parameters_after']:,} parameters"
    moved = number(payload["difference"], ".1e")
    return "⬆", f"the network grows in {payload['what']} at {payload['where']}: {sizes}; output changed by {moved}"


def _rollback(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    return "↺", f"the network goes back to step {event.payload['to_step']:,}: {event.payload['reason']}"


def _intervention(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    payload = event.payload
    change = ""
    if payload.get("before") is not None and payload.get("after") is not None:
        change = f" ({number(payload['before'])} → {number(payload['after'])})"
    return "⚑", f"the trainer acts, {str(payload['action']).replace('_', ' ')}{change}: {payload['reason']}"


def _action(snapshot: Snapshot, event: EventRow) -> tuple[str, str]:
    action = snapshot.history.actions[-1]
    why = action.reason or (f"loss change {action.loss_text} nats" if action.loss_change is not None else "")
    text = f"action {action.number}, {action.outcome_text}"
    return OUTCOME_STYLES[action.outcome].sign, f"{text}: {why}" if why else text


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
