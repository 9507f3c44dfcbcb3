"""Amounts of memory side by side as bars, and memory over time by the lines that allocated it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lab.base import ConfigError, ReportTable
from lab.device import MemoryHistory
from lab.lesson.drawn import DrawnReport
from lab.lesson.report import LessonReport
from lab.lesson.units import format_bytes

if TYPE_CHECKING:
    from lab.lesson.widgets import go

BAR_WIDTH = 30
"""Characters of the longest bar in text, and most characters of a line's memory over time."""
LEVELS = " ▁▂▃▄▅▆▇█"
"""Characters of an amount over time, from none to the peak."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MemoryBars(LessonReport):
    """Named amounts of bytes, in the order given."""

    amounts: dict[str, int]
    title: str = "Memory"

    @property
    def change(self) -> int:
        """Bytes of the last amount less the first."""
        values = list(self.amounts.values())
        return values[-1] - values[0]

    def _summary(self) -> str:
        names, first = list(self.amounts), next(iter(self.amounts.values()))
        sign = "+" if self.change > 0 else ""
        share = f" ({100 * self.change / first:+.1f} %)" if first else ""
        return f"{names[-1]} less {names[0]}: {sign}{format_bytes(self.change)}{share}"

    def to_dict(self) -> dict[str, Any]:
        """`amounts` and `change`, in bytes."""
        return {"amounts": dict(self.amounts), "change": self.change}

    def _shares(self) -> dict[str, float]:
        largest = max(self.amounts.values())
        return {name: count / largest if largest else 0.0 for name, count in self.amounts.items()}

    def tables(self) -> tuple[ReportTable, ...]:
        """One bar for each amount, drawn in characters."""
        shares = self._shares()
        rows = tuple(
            (name, "█" * max(round(BAR_WIDTH * shares[name]), 1 if count else 0), format_bytes(count), f"{count} B")
            for name, count in self.amounts.items()
        )
        return (
            ReportTable(
                title=self.title, columns=("when", "bar", "size", "bytes"), rows=rows, notes=(self._summary(),)
            ),
        )

    def _repr_html_(self) -> str:
        bars = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='width:20em'><div style='background:#4477aa;height:1em;width:{100 * share:.1f}%'></div></td>"
            f"<td>{format_bytes(self.amounts[name])}</td></tr>"
            for name, share in self._shares().items()
        )
        title = f"<p><b>{html.escape(self.title)}</b></p>"
        return f"{title}<table>{bars}</table><p>{html.escape(self._summary())}</p>"


def memory_bars(*, title: str = "Memory", **amounts: int) -> MemoryBars:
    """Bars for named amounts of memory, for instance `memory_bars(before=120_000, after=90_000)`.

    Args:
        title: what was measured and with which instrument.
        **amounts: bytes, at least one; the last is compared with the first. An underscore in a name is shown as a
            space.

    Raises:
        ConfigError: no amount, or one that is no whole number of bytes >= 0.
    """
    if not amounts:
        raise ConfigError("at least one amount", "none", "write memory_bars(before=..., after=...) in bytes")
    for name, count in amounts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ConfigError(f"{name} in whole bytes >= 0", repr(count), "give the number of bytes")
    return MemoryBars(amounts={name.replace("_", " "): count for name, count in amounts.items()}, title=title)


@dataclass(frozen=True, kw_only=True, repr=False)
class MemoryDrawing(DrawnReport):
    """Memory over time: what each line of code has allocated and not yet given back."""

    history: MemoryHistory
    title: str

    def to_dict(self) -> dict[str, Any]:
        """`title` and the whole history."""
        return {"title": self.title, **self.history.to_dict()}

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each line: its bytes over time in characters, whose scale is the peak of all, then numbers."""
        peak = self.history.peak
        rows = tuple(
            (_levels(live, peak), format_bytes(max(live)), format_bytes(live[-1]), line)
            for line, live in self.history.live_by_line().items()
        )
        notes = (f"all lines: {format_bytes(peak)} at most, {format_bytes(self.history.live[-1])} at the end",)
        columns = ("alive over time →", "most", "at the end", "line")
        return (ReportTable(title=self.title, columns=columns, rows=rows, notes=notes),)

    def figure(self) -> "go.Figure | None":
        """The lines as areas on top of each other; None where nothing was allocated."""
        from lab.charts import allocation_figure

        live = self.history.live_by_line()
        return allocation_figure(live, title=self.title) if live else None


def _levels(live: Sequence[int], peak: int) -> str:
    """The largest number of each of at most `BAR_WIDTH` equal parts, as a character of `LEVELS`; 1 byte is no blank."""
    width = min(BAR_WIDTH, len(live))
    ends = [len(live) * n // width for n in range(width + 1)]
    most = [max(live[begin:end]) for begin, end in pairwise(ends)]
    return "".join(LEVELS[-(-number * (len(LEVELS) - 1) // max(peak, 1))] for number in most)


def draw_memory(history: MemoryHistory, *, title: str = "Memory over time") -> MemoryDrawing:
    """Draw what `lab.device.record_memory` has recorded, by the lines that allocated it.

    Args:
        history: of a block that has ended.
        title: above the picture.
    """
    return MemoryDrawing(history=history, title=title)
