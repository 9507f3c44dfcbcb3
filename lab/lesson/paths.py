"""The cell of a supernet with all its operations, how often each was drawn, and the path that is drawn now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.base import ReportTable, require
from lab.lesson.drawn import DrawnReport
from lab.space import Space

if TYPE_CHECKING:
    from lab.lesson.widgets import go


@dataclass(frozen=True, kw_only=True, repr=False)
class PathDrawing(DrawnReport):
    """Counts of a supernet's operations by edge, and one path through them."""

    edges: tuple[str, ...]
    """Names of the edges."""
    ends: tuple[tuple[int, int], ...]
    """Source and target of each edge."""
    primitives: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """For each edge, how often each operation was drawn."""
    path: tuple[int, ...]
    """For each edge the operation that is drawn now; empty for none."""
    mark: str
    """A word for the path."""
    title: str

    def to_dict(self) -> dict[str, Any]:
        """`title`, the counts and the drawn operation of each edge by name."""
        counts = {
            edge: dict(zip(self.primitives, row, strict=True))
            for edge, row in zip(self.edges, self.counts, strict=True)
        }
        path = {edge: self.primitives[place] for edge, place in zip(self.edges, self.path, strict=False)}
        return {"title": self.title, "counts": counts, "path": path}

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each operation, one column for each edge; an arrow stands at the path."""
        rows = tuple(
            (name, *(self._count(edge, place) for edge in range(len(self.edges))))
            for place, name in enumerate(self.primitives)
        )
        notes = (f"→ {self.mark}",) if self.path else ()
        return (ReportTable(title=self.title, columns=("how often", *self.edges), rows=rows, notes=notes),)

    def _count(self, edge: int, place: int) -> str:
        sign = "→ " if self.path and self.path[edge] == place else ""
        return f"{sign}{self.counts[edge][place]:,}"

    def figure(self) -> "go.Figure":
        """The lanes of each edge."""
        from lab.charts import path_figure

        return path_figure(self.ends, self.primitives, self.counts, self.path, mark=self.mark, title=self.title)


def draw_paths(
    space: Space, draws: Iterable[Sequence[int]], path: Sequence[int] = (), *, mark: str = "drawn", title: str = ""
) -> PathDrawing:
    """Draw the cell of a supernet: a lane for each operation of each edge, its count beside it.

    Args:
        space: with one type of cell.
        draws: for each draw the index of the operation on each edge.
        path: the draw that is shown now; none where it is empty.
        mark: a word for the path, for instance "best" where the draws are what several searches have found.
        title: above the picture.

    Raises:
        ConfigError: a space of several types of cells, or a draw with another number of edges.
    """
    require(
        len({edge.cell for edge in space.edges}) == 1,
        expected="a space with one type of cell",
        got=f"{sorted({edge.cell for edge in space.edges})}",
        hint="draw a cell of NB125 or NB201",
    )
    counts = [[0] * len(space.primitives) for _ in space.edges]
    for draw in draws:
        require(
            len(draw) == len(space.edges),
            expected=f"draws of {len(space.edges)} edges",
            got=f"one of {len(draw)}",
            hint="give the index of an operation for each edge",
        )
        for row, place in zip(counts, draw, strict=True):
            row[place] += 1
    return PathDrawing(
        edges=tuple(str(edge) for edge in space.edges),
        ends=tuple((edge.source, edge.target) for edge in space.edges),
        primitives=tuple(space.primitives),
        counts=tuple(tuple(row) for row in counts),
        path=tuple(path),
        mark=mark,
        title=title,
    )
