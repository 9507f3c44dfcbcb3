"""Reports with a picture: a widget in a notebook, the same as HTML and text where no widget can be shown."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lab.base import ReportTable
from lab.lesson.report import LessonReport

if TYPE_CHECKING:
    from lab.lesson.widgets import go

TOLD = 9
"""Most rows and columns that a map has as a text."""


class DrawnReport(LessonReport):
    """A report whose picture a notebook shows beside its text.

    A dataclass below it says `repr=False`, as below `LessonReport`. Plotly is imported where a figure is made: it takes
    longer to import than most reports to compute.
    """

    folded: ClassVar[bool] = False
    """Whether a page shows the picture first, and folds the text below it, which has the same numbers."""

    @abstractmethod
    def figure(self) -> "go.Figure | None":
        """The picture; None where there is nothing to draw."""

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        text, page = str(self), self._repr_html_()
        figure = self.figure()
        if figure is None:
            return {"text/html": page, "text/plain": text}
        # Plotly's widgets take long to import, and a report that nobody draws needs none.
        from lab.lesson.widgets import TEXT_COLOR, VBox, fitted, formatted, go, mime_bundle

        figure.layout.font.color = TEXT_COLOR
        picture = fitted(go.FigureWidget(figure))
        if self.folded:
            below = formatted(f"<details><summary>the same in numbers</summary>{page}</details>")
            return mime_bundle(VBox([picture, below]), page, text, **options)
        return mime_bundle(VBox([formatted(page), picture]), page, text, **options)


@dataclass(frozen=True, kw_only=True, repr=False)
class LineDrawing(DrawnReport):
    """Named rows of numbers over one axis."""

    folded = True
    x: tuple[Any, ...]
    lines: Mapping[str, tuple[float, ...]]
    x_title: str
    y_title: str
    title: str
    log_y: bool

    def to_dict(self) -> dict[str, Any]:
        """`title`, `x` and `lines`."""
        lines = {name: list(values) for name, values in self.lines.items()}
        return {"title": self.title, "x": list(self.x), "lines": lines}

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each point."""
        rows = tuple(
            (str(place), *(f"{values[n]:.4g}" for values in self.lines.values())) for n, place in enumerate(self.x)
        )
        return (ReportTable(title=self.title, columns=(self.x_title, *self.lines), rows=rows),)

    def figure(self) -> "go.Figure":
        """The lines."""
        from lab.charts import lines_figure

        return lines_figure(
            self.x, self.lines, x_title=self.x_title, y_title=self.y_title, title=self.title, log_y=self.log_y
        )


def draw_lines(
    x: Sequence[Any],
    *,
    x_title: str,
    y_title: str = "",
    title: str = "",
    log_y: bool = False,
    **lines: Sequence[float],
) -> LineDrawing:
    """Draw named rows of numbers over `x`, for instance `draw_lines(layers, x_title="layer", careless=a, exact=b)`.

    Args:
        x: numbers or names, one for each point.
        x_title: what `x` is.
        y_title: what the numbers are, with their unit.
        title: above the picture.
        log_y: logarithmic axis of values; those <= 0 have no place on it.
        **lines: one number for each of `x`. An underscore in a name is shown as a space.

    Raises:
        ConfigError: a line of another length than `x`, when it is drawn.
    """
    named = {name.replace("_", " "): tuple(float(value) for value in values) for name, values in lines.items()}
    return LineDrawing(x=tuple(x), lines=named, x_title=x_title, y_title=y_title, title=title, log_y=log_y)


@dataclass(frozen=True, kw_only=True, repr=False)
class FateMap(DrawnReport):
    """What became of each of several things under each of several treatments."""

    names: tuple[str, ...]
    fates: Mapping[str, tuple[str, ...]]
    """Treatment -> the fate of each name."""
    ranks: Mapping[str, int]
    """Fate -> 0 (good) to 3 (bad)."""
    title: str

    def to_dict(self) -> dict[str, Any]:
        """`title`, `names` and `fates`."""
        fates = {treatment: list(row) for treatment, row in self.fates.items()}
        return {"title": self.title, "names": list(self.names), "fates": fates}

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each name, one column for each treatment."""
        rows = tuple((name, *(row[n] for row in self.fates.values())) for n, name in enumerate(self.names))
        return (ReportTable(title=self.title, columns=("name", *self.fates), rows=rows),)

    def figure(self) -> "go.Figure":
        """The map."""
        from lab.charts import fate_figure

        return fate_figure(self.names, self.fates, self.ranks, title=self.title)


def draw_fates(
    names: Sequence[str], fates: Mapping[str, Sequence[str]], ranks: Mapping[str, int], *, title: str = ""
) -> FateMap:
    """Draw what became of each of `names` under each treatment, as a coloured map with a word in each cell.

    Args:
        names: one for each row.
        fates: treatment -> the fate of each name.
        ranks: fate -> 0 (good) to 3 (bad), which sets its colour.
        title: above the map.
    """
    rows = {treatment: tuple(row) for treatment, row in fates.items()}
    return FateMap(names=tuple(names), fates=rows, ranks=dict(ranks), title=title)


@dataclass(frozen=True, kw_only=True, repr=False)
class HeatMap(DrawnReport):
    """A table of numbers, drawn as colours."""

    folded = True
    values: tuple[tuple[float, ...], ...]
    """One row for each of `y`."""
    x: tuple[Any, ...]
    y: tuple[Any, ...]
    x_title: str
    y_title: str
    unit: str
    title: str
    limits: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """`title`, `x`, `y` and `values`."""
        return {"title": self.title, "x": list(self.x), "y": list(self.y), "values": [list(row) for row in self.values]}

    def tables(self) -> tuple[ReportTable, ...]:
        """At most `TOLD` rows and columns, evenly spread; the last of `y` is the first row, as in the picture."""
        places, numbers = (range(0, len(axis), max(1, -(-len(axis) // TOLD))) for axis in (self.x, self.y))
        rows = tuple(
            (str(self.y[number]), *(f"{self.values[number][place]:.3g}" for place in places))
            for number in reversed(numbers)
        )
        corner = ", ".join(filter(None, (self.y_title, f"{self.x_title} →")))
        columns = (corner, *(str(self.x[place]) for place in places))
        notes = (f"the numbers: {self.unit}",) if self.unit else ()
        return (ReportTable(title=self.title, columns=columns, rows=rows, notes=notes),)

    def figure(self) -> "go.Figure":
        """The colours."""
        from lab.charts import heat_figure

        low, high = self.limits or (None, None)
        return heat_figure(
            self.values,
            x=self.x,
            y=self.y,
            x_title=self.x_title,
            y_title=self.y_title,
            unit=self.unit,
            title=self.title,
            low=low,
            high=high,
        )


def draw_heat(
    values: Sequence[Sequence[float]],
    *,
    x: Sequence[Any],
    y: Sequence[Any],
    x_title: str,
    y_title: str = "",
    unit: str = "",
    title: str = "",
    limits: tuple[float, float] | None = None,
) -> HeatMap:
    """Draw a table of numbers as colours, for instance a loss over two parameters.

    Args:
        values: one row for each of `y`, one number for each of `x`.
        x: numbers or names of the columns.
        y: numbers or names of the rows, the first at the bottom.
        x_title: what `x` is.
        y_title: what `y` is.
        unit: what the numbers are.
        title: above the picture.
        limits: the numbers of the darkest and of the brightest colour, so that several maps can be compared; None for
            the least and the largest one.

    Raises:
        ConfigError: rows or numbers of another count than `y` and `x`, when it is drawn.
    """
    rows = tuple(tuple(float(value) for value in row) for row in values)
    titles = {"x_title": x_title, "y_title": y_title, "unit": unit, "title": title}
    return HeatMap(values=rows, x=tuple(x), y=tuple(y), **titles, limits=limits)
