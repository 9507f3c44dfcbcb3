"""One shape for every report: text in a terminal, a table in Jupyter, plain data for a program."""

import html
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

SHOWN_ROWS = 20
"""Rows of a table that a page shows; the rest is folded."""


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A titled table of strings that renders as aligned text and as HTML.

    The text has every row; the HTML folds those behind the first `SHOWN_ROWS`.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        widths = [len(column) for column in self.columns]
        for row in self.rows:
            widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]

        def line(cells: tuple[str, ...]) -> str:
            return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

        parts = [self.title] if self.title else []
        if self.rows:
            parts += [line(self.columns), "  ".join("-" * width for width in widths)]
            parts += [line(row) for row in self.rows]
        return "\n".join([*parts, *self.notes])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        parts = [f"<p><b>{html.escape(self.title)}</b></p>"] if self.title else []

        def table(rows: tuple[tuple[str, ...], ...]) -> str:
            body = "".join(row(cells, "td") for cells in rows)
            # A table wider than the page scrolls by itself, so that the text beside it stays where it is.
            inner = f"<table><thead>{row(self.columns, 'th')}</thead><tbody>{body}</tbody></table>"
            return f"<div style='overflow-x:auto;max-width:100%'>{inner}</div>"

        if self.rows:
            parts.append(table(self.rows[:SHOWN_ROWS]))
        if more := self.rows[SHOWN_ROWS:]:
            parts.append(f"<details><summary>{len(more)} more rows</summary>{table(more)}</details>")
        parts += [f"<p>{html.escape(note)}</p>" for note in self.notes]
        return "".join(parts)


class Report(ABC):
    """A result that prints by `str()`, renders in Jupyter and gives its data by `to_dict()`."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""

    @abstractmethod
    def tables(self) -> tuple[ReportTable, ...]:
        """The report as tables, in reading order."""

    def to_json(self) -> str:
        """The report as one JSON text; NaN and infinities as the strings that Python's JSON writes."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        return "\n\n".join(str(table) for table in self.tables())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # What IPython shows as a value where it cannot show HTML: the text, not a dataclass's list of fields.
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())
