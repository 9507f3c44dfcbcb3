"""The live page of a run that learns several tasks at once: router load, weights of the losses, memory by component."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from components import figures, panels, words
from components.card import folded
from components.charted import charted_rows
from components.feed import Snapshot
from components.language import later, say
from components.words import Kpi, number, plain
from lab.charts import (
    WHOLE,
    ComponentBytes,
    Series,
    component_bytes,
    component_figure,
    component_table,
    named_series,
    router_figure,
    task_figure,
    weight_figure,
)

NO_CELL = later(
    "This run is of recipe multitask: one model of a text and a table learns several tasks at once. It has no cell, so "
    "there is no genotype, no architecture probabilities and no Gumbel temperature to show."
)
WEIGHTINGS = {
    "sum": later("Every loss weighs 1."),
    "dwa": later("Dynamic weight averaging: after each epoch a loss that falls more slowly weighs more."),
    "gradnorm": later("GradNorm: at each step the weights move so that all losses train at a similar rate."),
    "pcgrad": later("PCGrad: every loss weighs 1; where two gradients conflict, each loses the opposing component."),
}
"""What each weighting does, in a sentence."""
LOSS_HELP = later(
    "Unweighted sum of the tasks' losses: cross-entropy of classes, squared error of standardised numbers."
)
ACCURACY_HELP = later("Share of samples that the task with classes gets right.")


def weighting_text(snapshot: Snapshot) -> str:
    """What the run's weighting does."""
    name = str(snapshot.config.get("multitask", {}).get("weighting", ""))
    if name not in WEIGHTINGS:
        return say("Weighting {name}.", name=name) if name else ""
    return say(WEIGHTINGS[name])


def components_of(snapshot: Snapshot) -> tuple[ComponentBytes, ...]:
    """What each component of the model needs."""
    last = {name: series.last for name, series in snapshot.scalars.items()}
    return component_bytes({name: value for name, value in last.items() if value is not None})


def kpis(snapshot: Snapshot) -> tuple[Kpi, ...]:
    """The headline numbers, in order."""
    usual = {kpi.name: kpi for kpi in words.kpis(snapshot)}
    loads = named_series(snapshot.scalars, "router/load/")
    last = [value for series in loads if (value := series.last) is not None]
    most = words.NOTHING
    if last:
        most = say("{share} of {count}", share=number(max(last), ".0%"), count=len(last))
    tasks = str(len(named_series(snapshot.scalars, "loss/")) or words.NOTHING)
    return (
        usual["step"],
        usual["epoch"],
        Kpi(name="tasks", label=say("Tasks"), value=tasks, help=say("Losses.")),
        Kpi(
            name="load",
            label=say("Largest expert load"),
            value=most,
            help=say("Share of the latest batch that went to the most-loaded of N experts."),
        ),
        Kpi(
            name="conflict",
            label=say("Conflict"),
            value=number(snapshot.series("conflict").last, ".0%"),
            help=say("Share of the pairs of losses whose gradients conflict (negative cosine) in the latest step."),
        ),
        usual["stability"],
        usual["accuracy"],
        usual["memory"],
    )


def body(picture: panels.PageFrame) -> None:
    """What a person should look at first, headline numbers, router, weights, losses, memory, the usual curves."""
    snapshot = picture.snapshot
    panels.notices(picture)
    panels.headline(kpis(snapshot))
    st.caption(say(NO_CELL))
    attention = words.needs_attention(snapshot)
    if attention:
        panels.alerts(snapshot)
    left, right = st.columns(2)
    with left:
        _router(picture)
    with right:
        _weights(picture)
    left, right = st.columns(2)
    with left:
        _tasks(picture)
    with right:
        _components(picture)
    panels.curves(picture, loss=say(LOSS_HELP), accuracy=say(ACCURACY_HELP))
    if not attention:
        panels.alerts(snapshot)


def _told(found: tuple[Series, ...], form: str) -> str:
    """Name and latest value of each series, for who cannot see the chart."""
    return ", ".join(f"{series.name} {number(series.last, form)}" for series in found) or say("none")


def _depends(picture: panels.PageFrame, *groups: tuple[Series, ...]) -> tuple[object, ...]:
    return (picture.view, *(len(series) for found in groups for series in found), picture.lengths())


def _router(picture: panels.PageFrame) -> None:
    loads = named_series(picture.snapshot.scalars, "router/load/")
    help = say("Share of the tokens that each expert gets; the dotted line is an equal share.")
    with panels.card(say("Router load"), help):
        picture.curve(
            "router",
            _depends(picture, loads),
            lambda: router_figure(loads, view=picture.view),
            say("Share of load of each expert over steps; now {told}", told=_told(loads, ".0%")),
        )


def _weights(picture: panels.PageFrame) -> None:
    weights = named_series(picture.snapshot.scalars, "weight/")
    with panels.card(
        say("Weights of the losses"),
        say("How much each loss counts in the gradient; the weights add up to the number of losses."),
    ):
        picture.curve(
            "weights",
            _depends(picture, weights),
            lambda: weight_figure(weights, view=picture.view),
            say("Weight of each loss over steps; now {told}", told=_told(weights, ".2f")),
        )
        if text := weighting_text(picture.snapshot):
            st.caption(plain(text))


def _tasks(picture: panels.PageFrame) -> None:
    batches = named_series(picture.snapshot.scalars, "loss/")
    decisions = named_series(picture.snapshot.scalars, "decision/loss/")
    with panels.card(say("Loss of each task"), say("Unweighted; a diamond is the selection split after an epoch.")):
        picture.curve(
            "tasks",
            _depends(picture, batches, decisions),
            lambda: task_figure(batches, decisions, view=picture.view, y_title=say(figures.TASK_LOSSES)),
            say("Loss of each task over steps; now {told}", told=_told(batches, ".3f")),
        )


def _components(picture: panels.PageFrame) -> None:
    rows = components_of(picture.snapshot)
    with panels.card(
        say("Memory of the components"),
        say("Measured once on the first batch, in training: forward and backward of each."),
    ):
        names = ", ".join(f"{row.name} {words.bytes_text(row.peak)}" for row in rows if row.name != WHOLE)
        if names:
            label = say("Peak memory of each component: {names}", names=names)
        else:
            label = say("Memory of the components, not measured")
        picture.figure("components", rows, lambda: component_figure(rows), label)
        for row in rows:
            if row.name == WHOLE:
                peak = words.bytes_text(row.peak)
                st.caption(say("Whole model: peak {peak} in one forward and backward.", peak=peak))
        if rows:
            folded(say("The same as a table, in bytes"), "components", partial(_component_table, rows))


def _component_table(rows: Sequence[ComponentBytes]) -> None:
    table = charted_rows(component_table(rows), "component")
    st.dataframe(table, hide_index=True, alt=say("Bytes of each component"))
