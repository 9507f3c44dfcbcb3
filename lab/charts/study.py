"""A study as figures: the value of each trial with the best so far, what matters, parallel coordinates.

The rows are the events `trial` that a study's supervisor writes; nothing is worked out here that it has not told.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any

from lab.charts.layout import axis, make_figure, note_figure
from lab.charts.marks import Event
from lab.charts.pareto import pareto_front
from lab.charts.plotly import go
from lab.charts.style import BLUE, GREEN, ORANGE

NOTHING_YET = "Nothing to show: no trial is complete."
TICKS = 6
"""Ticks of one axis of the parallel coordinates, at most."""


@dataclass(frozen=True, kw_only=True)
class StudyTrial:
    """One attempt at a trial, as its latest event tells it."""

    number: int
    root: int
    """Number of the first attempt of its logical trial; its own where it is that."""
    attempt: int
    """Within its logical trial, from 0."""
    state: str
    """running, complete, pruned or failed."""
    params: Mapping[str, Any]
    values: Mapping[str, float]
    """Objective -> value, where it is complete."""
    cause: str
    reason: str
    retried: bool
    run: str
    """Folder of its run, from the study's folder."""
    seconds: float | None


def study_trials(events: Iterable[Event]) -> tuple[StudyTrial, ...]:
    """The attempts of a study in order of their numbers; of each the latest event holds."""
    latest = {event.payload["number"]: event.payload for event in events if event.kind == "trial"}
    names = [field.name for field in fields(StudyTrial)]
    return tuple([StudyTrial(**{name: latest[number][name] for name in names}) for number in sorted(latest)])


def logical_trials(trials: Iterable[StudyTrial]) -> tuple[StudyTrial, ...]:
    """The last attempt of each logical trial: what has become of it so far."""
    return tuple({trial.root: trial for trial in trials}.values())


def valued(trials: Iterable[StudyTrial], objective: str) -> tuple[StudyTrial, ...]:
    """The complete trials that have a finite value of `objective`."""
    return tuple([trial for trial in trials if math.isfinite(trial.values.get(objective, math.nan))])


def best_trial(trials: Iterable[StudyTrial], objective: str, direction: str) -> StudyTrial | None:
    """The first trial with the best value of `objective`; None where none is complete.

    Args:
        direction: minimize or maximize.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    return min(valued(trials, objective), key=lambda trial: sign * trial.values[objective], default=None)


def study_figure(
    trials: Sequence[StudyTrial], objective: str, direction: str, *, title: str = "", height: int = 340
) -> go.Figure:
    """The value of each complete trial over its number, and the best value so far as a line of steps."""
    shown = valued(trials, objective)
    if not shown:
        return note_figure(NOTHING_YET, height=height, title=title)
    numbers = [trial.number for trial in shown]
    values = [trial.values[objective] for trial in shown]
    best = list(accumulate(values, max if direction == "maximize" else min))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trial",
            "x": numbers,
            "y": values,
            "marker": {"color": BLUE, "size": 8},
            "text": [_told(trial.params) for trial in shown],
            "hovertemplate": "trial %{x}: %{y:.5g}<br>%{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": numbers,
            "y": best,
            "line": {"color": GREEN, "width": 2.5, "shape": "hv"},
            "hovertemplate": "best so far: %{y:.5g}<extra></extra>",
        },
    ]
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        xaxis=axis(title={"text": "trial", "standoff": 4}),
        yaxis=axis(title={"text": objective, "standoff": 4}, **_of_sign(values)),
    )


def _of_sign(values: Sequence[float]) -> dict[str, Any]:
    """An axis that does not go below 0, to accuracies that are none, where no value does."""
    return {"rangemode": "nonnegative"} if min(values) >= 0 else {}


def front_trials(trials: Iterable[StudyTrial], objectives: Mapping[str, str]) -> tuple[StudyTrial, ...]:
    """The complete trials that no other one beats in every objective.

    Args:
        objectives: name -> minimize or maximize.
    """
    shown = [t for t in trials if all(math.isfinite(t.values.get(name, math.nan)) for name in objectives)]
    values = {trial.number: [trial.values[name] for name in objectives] for trial in shown}
    front = set(pareto_front(values, list(objectives.values())))
    return tuple([trial for trial in shown if trial.number in front])


def front_figure(
    trials: Sequence[StudyTrial], objectives: Mapping[str, str], across: str, objective: str, *, height: int = 340
) -> go.Figure:
    """Two objectives against each other: every complete trial, and those that none beats, by shape and colour.

    Args:
        objectives: all of the study, name -> minimize or maximize; with more than two, a trial that none beats may
            look beaten in these two.
        across: objective on the horizontal axis.
        objective: that on the vertical one.
    """
    front = front_trials(trials, objectives)
    if not front:
        return note_figure(NOTHING_YET, height=height)
    rest = [t for t in valued(valued(trials, objective), across) if t not in front]
    groups = (
        ("beaten by another", rest, {"color": BLUE, "size": 7, "symbol": "circle-open"}),
        ("none beats it", sorted(front, key=lambda t: t.values[across]), {"color": ORANGE, "size": 11}),
    )
    every = [[trial.values[name] for trial in (*front, *rest)] for name in (across, objective)]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [trial.values[across] for trial in shown],
            "y": [trial.values[objective] for trial in shown],
            "marker": {"symbol": "diamond", **marker},
            "text": [f"trial {trial.number}<br>{_told(trial.params)}" for trial in shown],
            "hovertemplate": f"{across} %{{x:.5g}}, {objective} %{{y:.5g}}<br>%{{text}}<extra></extra>",
        }
        for name, shown, marker in groups
    ]
    return make_figure(
        data,
        height=height,
        hovermode="closest",
        xaxis=axis(title={"text": f"{across}, {objectives[across]}", "standoff": 4}, **_of_sign(every[0])),
        yaxis=axis(title={"text": f"{objective}, {objectives[objective]}", "standoff": 4}, **_of_sign(every[1])),
    )


def importance_figure(shares: Mapping[str, float], *, title: str = "", height: int = 340) -> go.Figure:
    """A bar for each searched field, the largest share on top; the share stands beside it."""
    if not shares:
        text = "Not worked out: it takes several complete trials<br>whose values differ."
        return note_figure(text, height=height, title=title)
    rows = sorted(shares.items(), key=lambda row: row[1])
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [name for name, _ in rows],
            "x": [share for _, share in rows],
            "text": [f"{share:.1%}" for _, share in rows],
            "textposition": "auto",
            "marker": {"color": BLUE},
            "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        }
    ]
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        showlegend=False,
        xaxis=axis(range=[0.0, 1.0], tickformat=".0%"),
        yaxis={"type": "category", "showgrid": False, "automargin": True},
    )


def coordinates_figure(
    trials: Sequence[StudyTrial],
    space: Sequence[Mapping[str, Any]],
    objective: str,
    direction: str,
    *,
    title: str = "",
    height: int = 380,
) -> go.Figure:
    """Parallel coordinates: a line for each complete trial across the searched fields to its value.

    Args:
        space: the searched fields as a study's event has them: field, low, high, log, choices.
        direction: minimize or maximize; a better value is drawn more blue, and stands on the last axis as well.
    """
    shown = valued(trials, objective)
    if not shown:
        return note_figure(NOTHING_YET, height=height, title=title)
    values = [trial.values[objective] for trial in shown]
    columns = [coordinate_axis(each, [trial.params[each["field"]] for trial in shown]) for each in space]
    data: list[dict[str, Any]] = [
        {
            "type": "parcoords",
            "dimensions": [*columns, {"label": objective, "values": values}],
            "line": {
                "color": values,
                "colorscale": [[0.0, ORANGE], [1.0, BLUE]],
                "reversescale": direction == "minimize",
            },
        }
    ]
    # Room for the names above the axes and the half of a name at either side.
    return make_figure(data, height=height, title=title, margin={"l": 70, "r": 70, "t": 70, "b": 30})


def coordinate_axis(dimension: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """One axis: choices at even places, a logarithmic range by its exponents, any other range as it is.

    Args:
        dimension: field (its name), choices; without choices low, high, log.
        values: those of the lines, among the choices or numbers in the range.
    """
    label, choices = dimension["field"], list(dimension["choices"])
    if choices:
        places = list(range(len(choices)))
        found = [choices.index(value) for value in values]
        ticks = [str(choice) for choice in choices]
        # One choice alone: an axis needs two ends.
        last = max(len(choices) - 1, 1)
        return {"label": label, "values": found, "range": [0, last], "tickvals": places, "ticktext": ticks}
    low, high = float(dimension["low"]), float(dimension["high"])
    if not dimension["log"]:
        return {"label": label, "values": list(values), "range": [low, high]}
    ends = [math.log10(low), math.log10(high)]
    marks = _ticks(*ends)
    return {
        "label": label,
        "values": [math.log10(value) for value in values],
        "range": ends,
        "tickvals": marks,
        "ticktext": [f"{10**mark:.3g}" for mark in marks],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Both ends and the whole exponents between them, every n-th where there are many."""
    whole = list(range(math.floor(low) + 1, math.ceil(high)))
    every = max(1, math.ceil(len(whole) / (TICKS - 2)))
    return [low, *map(float, whole[::every]), high]


def _told(params: Mapping[str, Any]) -> str:
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in params.items()}
    return ", ".join(f"{name}={text}" for name, text in shown.items())
