"""Shares of several things side by side, as bars with their numbers: in text, in HTML, as a figure."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from lab.base import ConfigError, ReportTable
from lab.charts import share_figure
from lab.lesson.report import LessonReport

BAR_WIDTH = 20
"""Characters of a bar of share 1 in text."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Shares(LessonReport):
    """For each label one share for each name, all in [0, 1]."""

    labels: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]
    """Name -> one share for each label."""
    title: str = ""

    def to_dict(self) -> dict[str, Any]:
        """`title`, `labels` and `shares`."""
        shares = {name: list(values) for name, values in self.shares.items()}
        return {"title": self.title, "labels": list(self.labels), "shares": shares}

    def tables(self) -> tuple[ReportTable, ...]:
        """One line for each label, with a bar of characters and a number for each name."""
        columns = ("", *map(_shown, self.shares))
        rows = tuple(
            (label, *(_text_bar(values[row]) for values in self.shares.values()))
            for row, label in enumerate(self.labels)
        )
        return (ReportTable(title=self.title, columns=columns, rows=rows),)

    def figure(self) -> go.Figure:
        """The same as a Plotly figure."""
        shares = {_shown(name): values for name, values in self.shares.items()}
        return share_figure(self.labels, shares, title=self.title)

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{html.escape(_shown(name))}</th>" for name in self.shares)
        lines = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(label)}</th>"
            + "".join(_html_bar(values[row]) for values in self.shares.values())
            + "</tr>"
            for row, label in enumerate(self.labels)
        )
        return f"<p><b>{html.escape(self.title)}</b></p><table><tr><th></th>{head}</tr>{lines}</table>"


def _shown(name: str) -> str:
    return name.replace("_", " ")


def _text_bar(share: float) -> str:
    return f"{'█' * round(BAR_WIDTH * share)} {share:.3f}".strip()


def _html_bar(share: float) -> str:
    bar = f"<div style='background:#4477aa;height:1em;width:{100 * share:.1f}%'></div>"
    return f"<td style='width:14em;text-align:left'>{bar}{share:.3f}</td>"


def share_bars(labels: Sequence[str], *, title: str = "", **shares: Sequence[float]) -> Shares:
    """Bars for shares, for instance `share_bars(["heads", "tails"], drawn=[0.48, 0.52], wanted=[0.5, 0.5])`.

    Args:
        labels: one for each line.
        title: what was counted.
        **shares: for each name one number in [0, 1] for each label; at least one name. An underscore in a name is
            shown as a space.

    Raises:
        ConfigError: no name, another number of shares than labels, or one outside [0, 1].
    """
    if not shares:
        raise ConfigError("at least one row of shares", "none", "write share_bars(labels, drawn=...)")
    for name, values in shares.items():
        if len(values) != len(labels):
            raise ConfigError(f"{len(labels)} shares of {name}", f"{len(values)}", "give one for each label")
        for value in values:
            if not 0.0 <= value <= 1.0 or math.isnan(value):
                raise ConfigError(f"shares of {name} in [0, 1]", f"{value}", "divide the counts by their sum")
    numbers = {name: tuple(float(value) for value in values) for name, values in shares.items()}
    return Shares(labels=tuple(labels), shares=numbers, title=title)
