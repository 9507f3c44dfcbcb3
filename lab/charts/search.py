"""How the search goes: phases in time, temperature above entropy on one step axis, stability."""

from collections.abc import Sequence
from typing import Any

from lab.charts.curves import DEFAULT_VIEW, CurveView, step_range
from lab.charts.layout import axis, make_figure, mark_labels, mark_shapes, note_figure, step_title
from lab.charts.marks import Event, Mark, shown_marks
from lab.charts.plotly import go
from lab.charts.series import Series, count_note, thin
from lab.charts.style import GREEN, INDIGO, ORANGE, RED, phase_style

HEALTH_BANDS: tuple[tuple[float, float, str], ...] = (
    (0.0, 0.4, "rgba(229,72,77,0.16)"),
    (0.4, 0.7, "rgba(217,114,10,0.12)"),
    (0.7, 1.0, "rgba(31,157,77,0.10)"),
)
"""Bands of the health score: low, high, fill."""

LANE = -0.75
"""Height of the mutations on the timeline: below the phases, whose names they would cover."""
MOST_DIAMONDS = 30
"""Mutations of the timeline that stand apart side by side, on a narrow screen too; nearer ones share a marker."""


def health_word(health: float) -> str:
    """`steady`, `shaky` or `critical`: the band that a health score in [0, 1] lies in, as a word."""
    # Asked in this way, so that NaN is critical.
    if not health >= HEALTH_BANDS[1][0]:
        return "critical"
    return "shaky" if health < HEALTH_BANDS[2][0] else "steady"


def timeline_figure(events: Sequence[Event], last_step: int, *, title: str = "", height: int = 150) -> go.Figure:
    """The phases as segments of one bar over steps, labelled by name, mutations as markers on a lane below it.

    A segment runs to the start of the next phase, the last one to `last_step`.
    """
    phases = [event for event in events if event.kind == "phase"]
    if not phases:
        return note_figure("No phase has begun.", height=height, title=title)
    ends = [event.step for event in phases[1:]] + [max(last_step, phases[-1].step)]
    data: list[dict[str, Any]] = []
    named: set[str] = set()
    for event, end in zip(phases, ends, strict=True):
        phase = str(event.payload["phase"])
        if phase in ("mutation", "finished") or end <= event.step:
            continue
        data.append(_segment(event, end, phase, show=phase not in named))
        named.add(phase)
    mutations = [event for event in phases if event.payload["phase"] == "mutation"]
    if mutations:
        first, last = phases[0].step, max(ends[-1], 1)
        data.append(_mutation_markers(_groups([event.step for event in mutations], (last - first) / MOST_DIAMONDS)))
    end = max(ends[-1], 1)
    return make_figure(
        data,
        height=height,
        title=title,
        barmode="stack",
        hovermode="closest",
        bargap=0.25,
        margin={"l": 8, "r": 12, "t": 34 if title else 4, "b": 8},
        xaxis=axis(range=[min(event.step for event in phases), end]),
        yaxis={"visible": False, "range": [LANE - 0.5, 0.5]},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yref": "paper", "yanchor": "bottom"},
        # A name that has no room in its segment is left out; the legend has it.
        uniformtext={"minsize": 10, "mode": "hide"},
    )


def _segment(event: Event, end: int, phase: str, *, show: bool) -> dict[str, Any]:
    style = phase_style(phase)
    epochs = f"{event.payload['epochs']} epochs from epoch {event.payload['epoch']}"
    pattern = {"solid": "", "dash": "/", "dot": "."}[style.dash]
    return {
        "type": "bar",
        "orientation": "h",
        "y": [0],
        "x": [end - event.step],
        "base": [event.step],
        "name": style.label,
        "legendgroup": style.label,
        "showlegend": show,
        "marker": {
            "color": style.color,
            "line": {"width": 1, "color": "rgba(255,255,255,0.6)"},
            "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.35)", "size": 7},
        },
        "text": [style.label],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": "white", "size": 13},
        "hovertemplate": f"{style.label}, cycle {event.payload['cycle']}<br>steps {event.step} to {end}<br>"
        f"planned {epochs}<extra></extra>",
    }


def _groups(steps: Sequence[int], room: float) -> list[list[int]]:
    """The steps in order, those that lie less than `room` behind the first of a group in that group."""
    groups: list[list[int]] = []
    for step in sorted(steps):
        if groups and step - groups[-1][0] < room:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _mutation_markers(groups: Sequence[Sequence[int]]) -> dict[str, Any]:
    style = phase_style("mutation")
    several = any(len(group) > 1 for group in groups)
    texts = [
        f"mutation at step {group[0]:,}"
        if len(group) == 1
        else f"{len(group)} mutations, steps {group[0]:,} to {group[-1]:,}"
        for group in groups
    ]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [group[0] for group in groups],
        "y": [LANE] * len(groups),
        "name": f"{style.label} (a number: so many)" if several else style.label,
        "text": [str(len(group)) if len(group) > 1 else "" for group in groups],
        "textposition": "bottom center",
        "textfont": {"size": 11},
        "marker": {"symbol": "diamond", "size": 10, "color": style.color, "line": {"width": 1, "color": "white"}},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def temperature_figure(
    temperature: Series,
    entropy: Series,
    *,
    marks: Sequence[Mark] = (),
    view: CurveView = DEFAULT_VIEW,
    entropy_limit: float | None = None,
    title: str = "",
    height: int = 400,
) -> go.Figure:
    """Gumbel temperature above, mean entropy per edge below, on one step axis with the mutations marked through both.

    Args:
        entropy: nats per edge.
        entropy_limit: entropy of a search that knows nothing, such as `uniform_entropy`; drawn as a line.
    """
    if not len(temperature) and not len(entropy):
        return note_figure(
            "No temperature: a search sets one when its architecture phase begins.", height=height, title=title
        )
    low, high = step_range([temperature, entropy], view)
    warm, spread = thin(temperature.since(low), view.limit), thin(entropy.since(low), view.limit)
    data: list[dict[str, Any]] = [
        {"type": "scatter", "x": warm.step, "y": warm.value, "mode": "lines", "name": "temperature τ"}
        | {"line": {"color": ORANGE, "width": 2.5, "shape": "hv"}},
        {"type": "scatter", "x": spread.step, "y": spread.value, "mode": "lines+markers", "name": "entropy per edge"}
        | {"line": {"color": INDIGO, "width": 2.5, "dash": "dash"}, "marker": {"size": 6}, "yaxis": "y2"},
    ]
    marks, few = shown_marks(marks, low, high)
    shapes, notes = mark_shapes(marks), mark_labels(marks, high - low)
    if entropy_limit is not None:
        ends = {"xref": "paper", "yref": "y2", "x0": 0, "x1": 1, "y0": entropy_limit, "y1": entropy_limit}
        shapes.append({"type": "line", **ends, "line": {"color": INDIGO, "width": 1, "dash": "dot"}})
        note = {"text": "uniform", "x": 1, "xanchor": "right", "y": entropy_limit, "yanchor": "bottom"}
        notes.append({**note, "xref": "paper", "yref": "y2", "showarrow": False, "font": {"size": 11}})
    return make_figure(
        data,
        height=height,
        title=title,
        xaxis=axis(
            title=step_title(count_note(len(warm), temperature.since(low).rows), few), range=[low, high], anchor="y2"
        ),
        yaxis=axis(title={"text": "temperature τ", "standoff": 10}, domain=[0.55, 1.0], rangemode="tozero"),
        yaxis2=axis(title={"text": "entropy (nats)", "standoff": 10}, domain=[0.0, 0.44], rangemode="tozero"),
        shapes=shapes,
        annotations=notes,
    )


def stability_figure(
    health: Series,
    events: Sequence[Event] = (),
    *,
    marks: Sequence[Mark] = (),
    view: CurveView = DEFAULT_VIEW,
    title: str = "",
    height: int = 260,
) -> go.Figure:
    """Health score in [0, 1] over three named bands, with interventions as triangles and rollbacks as stars."""
    if not len(health):
        return note_figure("No stability score: it comes with the first steps.", height=height, title=title)
    low, high = step_range([health], view)
    score = thin(health.since(low), view.limit)
    data: list[dict[str, Any]] = [
        {"type": "scatter", "x": score.step, "y": score.value, "mode": "lines", "name": "health"}
        | {"line": {"color": GREEN, "width": 2.5}}
    ]
    for kind, symbol, color in (("intervention", "triangle-down", ORANGE), ("rollback", "star", RED)):
        found = [event for event in events if event.kind == kind and low <= event.step <= high]
        if found:
            data.append(_moments(found, kind, symbol, color))
    bands: list[dict[str, Any]] = [
        {"type": "rect", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": bottom, "y1": top}
        | {"fillcolor": fill, "line": {"width": 0}, "layer": "below"}
        for bottom, top, fill in HEALTH_BANDS
    ]
    notes: list[dict[str, Any]] = [
        {"text": health_word((bottom + top) / 2), "x": 0.005, "xanchor": "left", "xref": "paper", "showarrow": False}
        | {"y": top, "yanchor": "top", "yref": "y", "font": {"size": 11}}
        for bottom, top, _ in HEALTH_BANDS
    ]
    marks, few = shown_marks(marks, low, high)
    return make_figure(
        data,
        height=height,
        title=title,
        xaxis=axis(title=step_title(count_note(len(score), health.since(low).rows), few), range=[low, high]),
        yaxis=axis(title={"text": "health", "standoff": 10}, range=[-0.02, 1.04]),
        shapes=bands + mark_shapes(marks),
        annotations=notes + mark_labels(marks, high - low),
    )


def _moments(found: Sequence[Event], kind: str, symbol: str, color: str) -> dict[str, Any]:
    texts = [str(event.payload.get("action", kind)).replace("_", " ") for event in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [event.step for event in found],
        "y": [0.5] * len(found),
        "name": kind,
        "text": texts,
        "marker": {"symbol": symbol, "size": 13, "color": color, "line": {"width": 1, "color": "white"}},
        "hovertemplate": "%{text}<extra></extra>",
    }
