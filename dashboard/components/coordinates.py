"""Runs as lines across parallel axes: the settings that differ, then what came of them; and the same as a table."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from components.compare import differing_settings
from components.feed import Snapshot
from components.language import say
from components.plot import draw
from components.resources import drawing_cache
from components.words import number, plain
from lab.charts import is_number, parallel_figure, series_style

RESULTS = ("decision/accuracy", "decision/loss", "test/accuracy")
"""Scalars whose last values are axes, beside the chosen one, where every run has them."""
MOST_SETTINGS = 10
"""Axes of settings; more would stand too close to be read."""
ABOUT_MACHINE = "environment."
"""How settings that describe the machine begin; they have an axis where there is room."""


@dataclass(frozen=True, kw_only=True)
class RunColumns:
    """What the axes show."""

    columns: Mapping[str, list[str | float]]
    """Name of an axis -> the value of each run, the run's own name first."""
    shown: tuple[str, ...]
    """The runs that have a line."""
    left_out: tuple[str, ...]
    """Runs without a value of the chosen scalar."""
    hidden: int
    """Differing settings without an axis."""


def run_columns(snapshots: Mapping[str, Snapshot], scalar: str) -> RunColumns:
    """The axes of these runs; the last one is the last value of `scalar`."""
    ends = {name: snapshot.series(scalar).last for name, snapshot in snapshots.items()}
    names = [name for name, value in ends.items() if is_number(value)]
    columns: dict[str, list[str | float]] = {say("run"): list(names)}
    settings = differing_settings({name: snapshots[name].config for name in names})
    order = sorted(settings, key=lambda setting: setting.startswith(ABOUT_MACHINE))
    for setting in order[:MOST_SETTINGS]:
        columns[setting] = [_value(settings[setting][name]) for name in names]
    for result in (*(each for each in RESULTS if each != scalar), scalar):
        last = [snapshots[name].series(result).last for name in names]
        found = [value for value in last if value is not None and is_number(value)]
        if len(found) == len(names):
            columns[result] = [*found]
    left_out = tuple([name for name in snapshots if name not in names])
    hidden = max(0, len(settings) - MOST_SETTINGS)
    return RunColumns(columns=columns, shown=tuple(names), left_out=left_out, hidden=hidden)


def _value(text: str) -> str | float:
    """A setting as the number that it is, else as its text."""
    try:
        value = float(text)
    except ValueError:
        return text
    return value if is_number(value) else text


def column_rows(found: RunColumns) -> list[dict[str, str]]:
    """One row of text for each run."""
    texts = {
        name: [value if isinstance(value, str) else number(value) for value in values]
        for name, values in found.columns.items()
    }
    return [{name: values[place] for name, values in texts.items()} for place in range(len(found.shown))]


def draw_coordinates(snapshots: Mapping[str, Snapshot], scalar: str) -> None:
    """Draw two runs or more; nothing for one alone."""
    if len(snapshots) < 2:
        return
    found = run_columns(snapshots, scalar)
    help = say("A line is a run, in the colour of its curve above.")
    st.markdown(f"**{say('Settings and results')}**", help=help)
    versions = [(str(each.summary.path), each.version) for each in snapshots.values()]
    # As compare_figure gives them: by the place among all compared runs.
    colors = [series_style(name, place).color for place, name in enumerate(snapshots) if name in found.shown]
    drawing = drawing_cache().get(
        ("coordinates", scalar, *versions), lambda: parallel_figure(found.columns, colors=colors), own_names=True
    )
    label = say("{count} runs as lines across {axes}", count=len(found.shown), axes=", ".join(found.columns))
    draw(drawing, key="compare_coordinates", label=label, view=f"{scalar} {' '.join(found.columns)}")
    if found.hidden:
        count = MOST_SETTINGS + found.hidden
        text = say("{shown} of {count} differing settings; the table above has all.", shown=MOST_SETTINGS, count=count)
        st.caption(text)
    if found.left_out:
        text = say("Without a value of {curve}: {runs}.", curve=scalar, runs=", ".join(found.left_out))
        st.caption(plain(text))
    with st.expander(say("As a table")):
        st.dataframe(column_rows(found), hide_index=True, alt=label)
