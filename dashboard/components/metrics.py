"""Every scalar of a run, in groups by the part of its name before the first slash; a text finds some of them."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import streamlit as st

from components import words
from components.card import card
from components.language import later, say, say_error
from lab.base import ConfigError
from lab.charts import Curve, Series, curve_figure, series_style

if TYPE_CHECKING:
    from components.panels import PageFrame

METRICS_HELP = later(
    "Every number that the run writes, by the first part of its name. The field *Metrics* finds some of them."
)
UNGROUPED = later("no group")
"""Title of the metrics whose names have no slash."""
MOST_CHARTS = 12
"""Charts of an open group; each costs the browser as much as any other chart of the page."""
HEIGHT = 240
"""Pixels of a chart."""


def find_metrics(names: Iterable[str], text: str) -> tuple[str, ...]:
    """The names in which `text` is found, in order of the alphabet; all for an empty text.

    Args:
        text: a part of a name, or a regular expression; upper and lower case are the same.

    Raises:
        ConfigError: `text` is no regular expression.
    """
    try:
        pattern = re.compile(text, re.IGNORECASE)
    except re.error as error:
        expected = say("a part of a name or a regular expression in the field Metrics")
        raise ConfigError(
            expected, f"{text!r}: {error}", say(r"write \( for a bracket that is meant as such")
        ) from error
    return tuple(sorted(name for name in names if pattern.search(name)))


def metric_groups(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Names by the part before their first slash, those without one first."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split("/", 1)[0] if "/" in name else UNGROUPED, []).append(name)
    order = sorted(groups, key=lambda group: (group != UNGROUPED, group))
    return {group: tuple(groups[group]) for group in order}


def is_dense(series: Series) -> bool:
    """Whether the series has a value at every second step or more often, and is drawn with its average."""
    return len(series) > 1 and int(series.step[-1] - series.step[0]) < 2 * series.rows


def all_metrics(picture: "PageFrame") -> None:
    """The groups, each closed until it is opened; a closed one costs nothing."""
    names = picture.snapshot.scalars
    if not names:
        return
    with card(say("All metrics"), say(METRICS_HELP)):
        try:
            found = find_metrics(names, picture.metrics)
        except ConfigError as error:
            st.warning(words.plain(say_error(error)), icon=":material/search_off:")
            return
        groups = metric_groups(found)
        text = later("{found} of {count} metrics match {text!r}") if picture.metrics else later("{count} metrics")
        st.caption(words.plain(say(text, found=len(found), count=len(names), text=picture.metrics)))
        # What a text has found is open at first.
        kind = "found" if picture.metrics else "group"
        for group, members in groups.items():
            key = f"{kind}_{group}"
            place = st.expander(
                words.plain(say(group) if group == UNGROUPED else group),
                expanded=bool(picture.metrics),
                key=key,
                on_change="rerun",
                bind="query-params",
            )
            if place.open:
                with place:
                    _charts(picture, members)


def _charts(picture: "PageFrame", names: tuple[str, ...]) -> None:
    """One chart for each metric, two in a row."""
    shown = names[:MOST_CHARTS]
    if len(shown) < len(names):
        text = later("The first {shown} of {count}; the field *Metrics* in the sidebar finds others.")
        st.caption(say(text, shown=len(shown), count=len(names)))
    columns = st.columns(2)
    for place, name in enumerate(shown):
        with columns[place % 2]:
            _chart(picture, name)


def _chart(picture: "PageFrame", name: str) -> None:
    series = picture.snapshot.series(name)
    curve = Curve(series=series, style=series_style(name, 0), dense=is_dense(series))
    st.markdown(f"**{words.plain(name)}**: {words.number(series.last)}")
    picture.curve(
        f"metric {name}",
        (picture.view, picture.lengths(name)),
        lambda: curve_figure([curve], y_title="", view=picture.view, height=HEIGHT),
        say("{name} over steps; latest value {value}", name=name, value=words.number(series.last)),
        own_names=True,
    )
