"""Runs side by side: their list, their settings where they differ, their best values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np

from components.feed import Snapshot
from components.language import say
from components.words import NOTHING, STATE_SIGNS, age_text, clock_text, number
from lab.store import RunLabel, RunSummary

NO_LABELS: Mapping[str, RunLabel] = MappingProxyType({})
MOST_RUNS = 20
"""Runs that can be compared at once: as many as colour and dash still tell apart at a glance."""
MOST_POINTS = 10_000
"""Points of all compared curves together."""


def live_address(name: str) -> str:
    """Where the live page shows the run `name`, seen from another page."""
    return f"./?run={quote(name, safe='')}"


def wall_address(name: str) -> str:
    """Where the run `name` is shown on one screen."""
    return f"{live_address(name)}&view=wall"


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are listed."""

    text: str = ""
    """A part of name, title, note or reason, upper and lower case the same; an empty one leaves no run out."""
    states: tuple[str, ...] = ()
    """None of them leaves no run out."""
    archived: bool = False
    """Whether archived runs are listed too."""

    def takes(self, run: RunSummary, label: RunLabel) -> bool:
        """Whether the run is listed."""
        text = f"{run.name}\n{label.title}\n{label.note}\n{run.reason}"
        known = self.text.casefold() in text.casefold() and (not self.states or run.state in self.states)
        return known and (self.archived or not label.archived)


def run_rows(runs: Sequence[RunSummary], labels: Mapping[str, RunLabel] = NO_LABELS) -> list[dict[str, str]]:
    """One row of text for each run; titles and notes have columns where a run has one.

    Args:
        labels: what a person said of the runs, by name; those of all runs, or none.
    """
    titled, noted = (any(getattr(label, field) for label in labels.values()) for field in ("title", "note"))
    return [
        {
            say("run"): run.name,
            **({say("title"): labels[run.name].title} if titled else {}),
            **({say("note"): labels[run.name].note} if noted else {}),
            say("live"): live_address(run.name),
            say("state"): say(run.state),
            say("started"): clock_text(run.started) if math.isfinite(run.started) and run.started > 0 else NOTHING,
            say("last heartbeat"): age_text(run.heartbeat_age) if math.isfinite(run.heartbeat_age) else NOTHING,
            say("last step"): NOTHING if run.last_step is None else f"{run.last_step:,}",
            say("accuracy"): number(run.accuracy, ".1%"),
            say("attempt"): str(run.attempt or NOTHING),
            say("reason"): run.reason or say(STATE_SIGNS[run.state][2]),
        }
        for run in runs
    ]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings as `part.name` -> text."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def config_rows(configs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """The settings in which the runs differ: one row each, one column for each run."""
    return [{say("setting"): key, **values} for key, values in differing_settings(configs).items()]


def differing_settings(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Setting -> run -> text of its value, for the settings in which the runs differ."""
    flat = {name: flatten(config) for name, config in configs.items()}
    found: dict[str, dict[str, str]] = {}
    for key in sorted({key for config in flat.values() for key in config}):
        values = {name: config.get(key, NOTHING) for name, config in flat.items()}
        if len(set(values.values())) > 1:
            found[key] = values
    return found


def best_rows(snapshots: Mapping[str, Snapshot], scalar: str) -> list[dict[str, str]]:
    """Smallest, largest and last value of `scalar` in each run, with the step of each extreme."""
    rows = []
    for name, snapshot in snapshots.items():
        series = snapshot.series(scalar).finite
        if not len(series):
            rows.append({say("run"): name, say("smallest"): NOTHING, say("largest"): NOTHING, say("last"): NOTHING})
            continue
        low, high, last = int(np.argmin(series.value)), int(np.argmax(series.value)), len(series) - 1
        smallest, largest, latest = (
            say("{value} at step {step:,}", value=number(series.value[place]), step=int(series.step[place]))
            for place in (low, high, last)
        )
        rows.append({say("run"): name, say("smallest"): smallest, say("largest"): largest, say("last"): latest})
    return rows


def common_scalars(snapshots: Mapping[str, Snapshot]) -> tuple[str, ...]:
    """Names of the scalars that at least one of the runs has, the usual ones first."""
    usual = ("decision/accuracy", "decision/loss", "loss", "accuracy", "temperature", "health")
    names = {name for snapshot in snapshots.values() for name in snapshot.scalars}
    return (*(name for name in usual if name in names), *sorted(names - set(usual)))
