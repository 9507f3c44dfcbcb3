"""What the evolution agent did, in words: each action with its surgery, its trial and what became of it.

An action is kept, rolled back or refused; each has a sign, a symbol and a colour of its own. Loss changes are those of
the changed network less its control copy on the same held-out samples: below zero the change helped.
"""

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lab.charts.marks import Event, Mark
from lab.charts.style import GREEN, GREY, RED

SMALL = 1e-3
"""Nats below which four decimals would hide what a loss change is."""


@dataclass(frozen=True, kw_only=True)
class OutcomeStyle:
    """How what became of an action looks."""

    sign: str
    symbol: str
    """Plotly's name of the marker."""
    color: str


OUTCOME_STYLES: Mapping[str, OutcomeStyle] = MappingProxyType(
    {
        "kept": OutcomeStyle(sign="✔", symbol="circle", color=GREEN),
        "rolled back": OutcomeStyle(sign="✘", symbol="x", color=RED),
        "refused": OutcomeStyle(sign="⊘", symbol="square-open", color=GREY),
    }
)


@dataclass(frozen=True, kw_only=True)
class Surgery:
    """One operation on the network."""

    operation: str
    layer: str
    """Where: module name, or first and last one of a span; empty where the event does not say."""
    detail: str
    """What else it was asked for: `width 24`, `keep 6`."""

    @property
    def text(self) -> str:
        """`widen (width 24)`."""
        name = self.operation.replace("_", " ")
        return f"{name} ({self.detail})" if self.detail else name


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action of the agent; what was not measured is None."""

    number: int
    """Count of actions of this run, refused ones included, from 1."""
    step: int
    action: str
    outcome: str
    """kept, rolled back or refused."""
    surgeries: tuple[Surgery, ...]
    reason: str
    exact: bool | None
    """Whether the change was planned to leave the output as it was."""
    difference: float | None
    """Relative output change at the moment of the surgery, before any training."""
    probe_steps: int | None
    """Training steps that the changed network and its control copy took each."""
    loss_change: float | None
    """Mean difference of the held-out losses, nats."""
    loss_error: float | None
    """Its standard error, nats."""
    reward: float | None
    reward_parts: dict[str, float]
    """What the reward is made of, each in (-1, 1), before weighting."""
    parameters: tuple[int, int] | None
    """Before, and of the changed network."""
    regret: float | None
    """What the decision lost in hindsight, nats."""
    regret_so_far: float | None
    state: dict[str, Any]
    """Where the agent stood afterwards: accept rate, exploration, experiences, updates, probe steps in all."""
    masked: dict[str, str]
    """Why each impossible action was impossible afterwards."""

    @property
    def heading(self) -> str:
        """`Action 3 at step 30: ✔ hybrid kept`."""
        return f"Action {self.number} at step {self.step:,}: {OUTCOME_STYLES[self.outcome].sign} {self.outcome_text}"

    @property
    def outcome_text(self) -> str:
        """`hybrid kept`."""
        return f"{self.action} {self.outcome}"

    @property
    def loss_text(self) -> str:
        """`-0.0047 ± 0.0014`, or why there is no such number."""
        if self.outcome == "refused":
            return ""
        if self.loss_change is None or self.loss_error is None:
            return "not measured"
        if not math.isfinite(self.loss_change):
            return "not a number"
        small = max(abs(self.loss_change), self.loss_error) < SMALL
        form = ".1e" if small else ".4f"
        return f"{self.loss_change:+{form}} ± {self.loss_error:{form}}"

    @property
    def parameters_text(self) -> str:
        """`14,906 → 16,218`; empty for a refused action."""
        return "" if self.parameters is None else f"{self.parameters[0]:,} → {self.parameters[1]:,}"


def agent_actions(events: Iterable[Event]) -> tuple[Action, ...]:
    """The actions among the events, in their order."""
    found = (event for event in events if event.kind == "action")
    return tuple(_action(number, event.step, event.payload) for number, event in enumerate(found, start=1))


def _action(number: int, step: int, payload: Mapping[str, Any]) -> Action:
    info: Mapping[str, Any] = payload["info"]
    measured = bool(info.get("measured"))
    parameters = info.get("parameters")
    return Action(
        number=number,
        step=step,
        action=str(payload["action"]),
        outcome=_outcome(payload),
        surgeries=tuple(part for text in info.get("changes", ()) for part in read_change(text)),
        reason=str(info.get("reason", info.get("error", ""))),
        exact=info.get("exact"),
        difference=info.get("max_difference"),
        probe_steps=info.get("probe_steps"),
        loss_change=info.get("loss_change") if measured else None,
        loss_error=info.get("loss_error") if measured else None,
        reward=payload["reward"] if measured else None,
        reward_parts=dict(info.get("reward_parts", {})) if measured else {},
        parameters=None if parameters is None else (int(parameters[0]), int(parameters[1])),
        regret=info.get("regret"),
        regret_so_far=info.get("regret_so_far"),
        state=dict(info.get("state", {})),
        masked=dict(info.get("masked", {})),
    )


def _outcome(payload: Mapping[str, Any]) -> str:
    return "kept" if payload["accepted"] else "rolled back" if payload["applied"] else "refused"


def read_change(text: str) -> tuple[Surgery, ...]:
    """The operations of a change as an action tells it: its name, and its arguments as a Python dictionary.

    `together` is several operations; a text of another form is told whole, without a layer.
    """
    name, _, arguments_text = text.partition(" ")
    try:
        arguments = ast.literal_eval(arguments_text)
    except (ValueError, SyntaxError):
        arguments = None
    if not isinstance(arguments, dict) or not arguments:
        return (Surgery(operation=text, layer="", detail=""),)
    if "parts" in arguments:
        return tuple(
            _surgery(part["op"], {key: part[key] for key in part if key != "op"}) for part in arguments["parts"]
        )
    return (_surgery(name, arguments),)


def _surgery(name: str, arguments: Mapping[str, Any]) -> Surgery:
    place, *rest = arguments.items()
    layer = place[1]
    # An empty or zero argument asks for nothing: the operation chooses.
    details = [
        f"{key.replace('_', ' ')} {len(value) if isinstance(value, list | tuple) else value}"
        for key, value in rest
        if value
    ]
    return Surgery(
        operation=name,
        layer=" to ".join(map(str, layer)) if isinstance(layer, list | tuple) else str(layer),
        detail=", ".join(details),
    )


def action_counts(found: Iterable[Action]) -> dict[str, int]:
    """How many actions were kept, rolled back and refused."""
    outcomes = [action.outcome for action in found]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOME_STYLES}


def action_table(found: Sequence[Action]) -> list[dict[str, str]]:
    """All actions as rows of text, the latest first."""
    return [
        {
            "action": f"{action.number} {action.action}",
            "step": f"{action.step:,}",
            "outcome": f"{OUTCOME_STYLES[action.outcome].sign} {action.outcome}",
            "operation": "; ".join(part.text for part in action.surgeries),
            "layer": "; ".join(dict.fromkeys(part.layer for part in action.surgeries)),
            "loss change (nats)": action.loss_text,
            "reward": "" if action.reward is None else f"{action.reward:+.3f}",
            "parameters": action.parameters_text,
            "exact": "" if action.exact is None else "exact" if action.exact else "not exact",
            "output difference": "" if action.difference is None else f"{action.difference:.1e}",
            "probe steps": "" if action.probe_steps is None else str(action.probe_steps),
            "regret (nats)": "" if action.regret is None else f"{action.regret:.4f}",
            "reason": action.reason,
        }
        for action in reversed(found)
    ]


def action_marks(events: Iterable[Event]) -> tuple[Mark, ...]:
    """One mark for each step at which changes were kept, with their numbers: `A3 ✔`."""
    kept: dict[int, list[str]] = {}
    for number, event in enumerate((event for event in events if event.kind == "action"), start=1):
        if _outcome(event.payload) == "kept":
            kept.setdefault(event.step, []).append(f"A{number}")
    style = OUTCOME_STYLES["kept"]
    return tuple(
        Mark(step=step, text=f"{' '.join(names)} {style.sign}", color=style.color) for step, names in kept.items()
    )
