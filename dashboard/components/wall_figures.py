"""The figures of the wall, by recipe; the accuracy stands beside that of a fixed network where there is one."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import plotly.graph_objects as go

from components import agent, figures, multitask, words
from components.feed import Snapshot
from components.language import later, say
from components.panels import PageFrame
from components.root import run_folders
from lab.base import LabError
from lab.charts import (
    COLORS,
    Curve,
    LazyFigure,
    LineStyle,
    Series,
    action_figure,
    curve_figure,
    figure_spec,
    named_series,
    router_figure,
    task_figure,
    trial_figure,
    weight_figure,
)
from lab.store import RunReader

SMOOTHING = 0.9
"""Of the batches' curve: from afar only its course is seen."""


@dataclass(frozen=True, kw_only=True)
class Ghost:
    """A run of a fixed network beside which the shown one is drawn."""

    name: str
    accuracy: Series
    """On the selection split."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure of the wall."""

    area: str
    """main, side, left, middle or right."""
    title: str
    label: str
    """What it shows, for those who cannot see it."""
    depends: tuple[object, ...]
    build: Callable[[], go.Figure]


def wall_panels(picture: PageFrame, ghost: Ghost | None) -> tuple[Panel, ...]:
    """The figures of the wall, for the recipe of the run."""
    snapshot = picture.snapshot
    if words.is_agent(snapshot):
        first = _agent_panels(picture)
    elif words.is_multitask(snapshot):
        first = _multitask_panels(picture)
    elif words.is_text(snapshot):
        first = _text_panels(picture)
    else:
        first = _search_panels(picture)
    return (*first, _accuracy(picture, ghost), _stability(picture))


def _search_panels(picture: PageFrame) -> tuple[Panel, ...]:
    snapshot = picture.snapshot
    event, change = snapshot.latest("genotype"), figures.latest_change(snapshot)
    share = figures.transition_share(snapshot, change)
    cells = ", ".join(f"{edge.label} {edge.primitive}" for edge in figures.drawn_edges(event, change))
    entropy = snapshot.history.entropy
    title = say("Genotype") if share is None else say("Genotype: transition {share:.0%}", share=share)
    label = say("Graph of the cell: {cells}", cells=cells) if cells else say("No genotype")
    return (
        Panel(
            area="main",
            title=title,
            label=label,
            depends=(None if event is None else event.id, change, share),
            build=lambda: figures.genotype_panel(event, change, share),
        ),
        Panel(
            area="side",
            title=say("Probabilities: ◆ has, ▲ most probable"),
            label=say("Probability of each primitive on each edge"),
            depends=(None if event is None else event.id,),
            # A wall has no room for the edges that a large space has and the network has not.
            build=lambda: figures.probability_panel(event, taken=True),
        ),
        Panel(
            area="middle",
            title=say("Temperature τ, entropy (nats) by step"),
            label=say(
                "Gumbel temperature, now {temperature}, above entropy per edge, now {entropy} nats",
                temperature=words.number(snapshot.series("temperature").last, ".3f"),
                entropy=words.number(entropy.last, ".3f"),
            ),
            depends=(picture.view, picture.lengths("temperature")),
            build=lambda: low(figures.temperature_panel(snapshot, picture.view)),
        ),
    )


def _agent_panels(picture: PageFrame) -> tuple[Panel, ...]:
    snapshot = picture.snapshot
    found = snapshot.history.actions
    parameters = words.number(snapshot.series("agent/parameters").last, ",.0f")
    return (
        Panel(
            area="main",
            title=say("Actions of the agent"),
            label=say("{count} actions in order, by kind and outcome", count=len(found)),
            depends=(len(found), picture.lengths()),
            build=lambda: action_figure(found),
        ),
        Panel(
            area="side",
            title=say("Trials: loss change, reward"),
            label=say("Loss change and reward of each trial"),
            depends=(len(found), picture.lengths()),
            build=lambda: trial_figure(found),
        ),
        Panel(
            area="middle",
            title=say("Parameters by step"),
            label=say("Parameters of the network, now {count}", count=parameters),
            depends=(picture.view, picture.lengths("agent/parameters")),
            build=lambda: low(agent.parameter_panel(snapshot, picture.view)),
        ),
    )


def _multitask_panels(picture: PageFrame) -> tuple[Panel, ...]:
    scalars, view = picture.snapshot.scalars, picture.view
    loads, weights, losses = (named_series(scalars, name) for name in ("router/load/", "weight/", "loss/"))
    depends = (view, picture.lengths("loss"), picture.lengths("decision/loss"))
    return (
        Panel(
            area="main",
            title=say("Router load"),
            label=say("Share of load of {count} experts over steps", count=len(loads)),
            depends=depends,
            build=lambda: router_figure(loads, view=view),
        ),
        Panel(
            area="side",
            title=say("Weights of the losses"),
            label=say(
                "Weight of {count} losses over steps. {weighting}",
                count=len(weights),
                weighting=multitask.weighting_text(picture.snapshot),
            ),
            depends=depends,
            build=lambda: weight_figure(weights, view=view),
        ),
        Panel(
            area="middle",
            title=say("Loss of each task (nats; MSE) by step"),
            label=say("Loss of {count} tasks over steps", count=len(losses)),
            depends=depends,
            build=lambda: low(task_figure(losses, (), view=view)),
        ),
    )


def _text_panels(picture: PageFrame) -> tuple[Panel, ...]:
    snapshot, view = picture.snapshot, picture.view
    parts = named_series(snapshot.scalars, "decision/loss/")
    lengths = picture.lengths("loss", "decision/loss", "test/loss")
    return (
        Panel(
            area="main",
            title=say("Loss"),
            label=say("Loss over steps"),
            depends=(view, lengths),
            build=lambda: figures.loss_panel(snapshot, view),
        ),
        Panel(
            area="side",
            title=say("Loss of class and span"),
            label=say("Loss of {count} parts over steps", count=len(parts)),
            depends=(view, lengths),
            build=lambda: task_figure((), parts, view=view),
        ),
        Panel(
            area="middle",
            title=say("Memory (MiB) by step"),
            label=say("Memory over steps"),
            depends=(view, picture.lengths("memory/rss", "memory/tensors")),
            build=lambda: low(figures.memory_panel(snapshot, view)),
        ),
    )


def _accuracy(picture: PageFrame, ghost: Ghost | None) -> Panel:
    snapshot = picture.snapshot
    last = words.number(snapshot.series("decision/accuracy").last, ".1%")
    label = say("Accuracy over steps, on the selection split now {last}", last=last)
    if ghost is not None and len(ghost.accuracy):
        then = words.number(ghost.accuracy.last, ".1%")
        text = later("{label}, beside the fixed network {name}, at the same step {then}")
        label = say(text, label=label, name=ghost.name, then=then)
    return Panel(
        area="left",
        title=say("Accuracy by step"),
        label=label,
        depends=(
            picture.view,
            picture.lengths("accuracy", "decision/accuracy", "test/accuracy"),
            None if ghost is None else (ghost.name, len(ghost.accuracy)),
        ),
        build=lambda: accuracy_figure(snapshot, picture, ghost),
    )


def accuracy_figure(snapshot: Snapshot, picture: PageFrame, ghost: Ghost | None) -> go.Figure:
    """Accuracy of the run over steps; the fixed network's on the selection split is a grey dotted line."""
    view = replace(picture.view, log_y=False, smoothing=SMOOTHING)
    # From afar two curves are enough: the headline has the test split, and a step of an architecture phase is of
    # another network.
    curves = [curve for curve in figures.curves_of(snapshot, "accuracy") if curve.joined]
    if ghost is not None and len(ghost.accuracy):
        style = LineStyle(label=say("fixed network"), color=COLORS[-1], dash="dot")
        curves.append(Curve(series=ghost.accuracy, style=style, dense=False))
    return low(curve_figure(curves, y_title="", view=view, marks=figures.marks_of(snapshot), percent=True))


def low(figure: go.Figure) -> go.Figure:
    """A figure of curves for a low panel whose title names its axes: the room of their titles goes to the curves."""
    data, layout = figure_spec(figure)
    axes = {
        name: {key: value for key, value in axis.items() if key != "title"}
        for name, axis in layout.items()
        if name.startswith(("xaxis", "yaxis"))
    }
    return LazyFigure(data, {**layout, **axes, "margin": {"l": 6, "r": 22, "t": 20, "b": 38}})


def _stability(picture: PageFrame) -> Panel:
    snapshot = picture.snapshot
    return Panel(
        area="right",
        title=say("Stability by step"),
        label=say("Health score over steps, now {now}", now=words.number(snapshot.series("health").last, ".2f")),
        depends=(picture.view, picture.lengths("health")),
        build=lambda: low(figures.stability_panel(snapshot, picture.view)),
    )


def find_fixed(root: Path, name: str, asked: str | None) -> Path | None:
    """Folder of a fixed network's run to draw beside the run `name`: `asked`, else the first named `NAME-...`."""
    others = sorted(other for other in run_folders(root) if other == asked or other.startswith(f"{name}-"))
    for other in [asked] if asked is not None else others:
        # One that cannot be read is none to compare with; the page of runs says why.
        with suppress(LabError):
            if other in others and RunReader(root / other).config().get("recipe") == "fixed":
                return root / other
    return None


def ghost_of(snapshot: Snapshot, other: Snapshot | None) -> Ghost | None:
    """The accuracy of the fixed network `other`, up to the latest step of `snapshot`; None where there is none."""
    if other is None:
        return None
    accuracy = other.series("decision/accuracy").until(snapshot.last_step)
    return Ghost(name=other.summary.name, accuracy=accuracy)
