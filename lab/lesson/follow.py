"""A run drawn live in a notebook: curves and cell that advance while the cells below are run.

The figures are widgets; a task in the kernel's event loop reads the store and sends only what changed. Outside a
notebook there is no such loop: `Follower.refresh` advances it by hand and `str()` shows it as text.
"""

import asyncio
import html
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.base import LabError, TrainingError, require_range
from lab.charts import (
    Curve,
    CurveView,
    cell_edges,
    curve_figure,
    genotype_figure,
    mutation_changes,
    mutation_marks,
    series_style,
)
from lab.lesson.feed import RunFeed, RunVersion
from lab.lesson.picture import Picture
from lab.lesson.run import RunHandle
from lab.lesson.widgets import HTML, TEXT_COLOR, VBox, go, mime_bundle

VIEW = CurveView(limit=1000)
CURVES_HEIGHT = 320
CELL_HEIGHT = 300


class Follower:
    """The live picture of one run: `curves` and `cell` are drawn by widgets, `feed` holds the numbers behind them."""

    def __init__(self, feed: RunFeed, interval: float) -> None:
        self.feed = feed
        self.curves = Picture()
        """Scalars over the steps, once there are any."""
        self.cell = Picture()
        """The cell as a graph, once there is one."""
        self._heading = HTML()
        self._box = VBox([self._heading])
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self._drawn: RunVersion | None = None
        self._draw()

    def refresh(self) -> bool:
        """Read what came since the last time and draw it; whether the run may still bring more."""
        more = self.feed.refresh()
        self._draw()
        return more

    def _draw(self) -> None:
        if self.feed.version != self._drawn:
            self._drawn = self.feed.version
            moment = self.feed.snapshot()
            self._heading.value = "<br>".join(html.escape(line) for line in (moment.heading(), *moment.mutations))
            self.curves.show(self._curves_figure())
            self.cell.show(self._cell_figure())
        self.curves.tend()
        self.cell.tend()
        widgets = (self._heading, self.curves.widget, self.cell.widget)
        self._box.children = tuple(widget for widget in widgets if widget is not None)

    def _curves_figure(self) -> go.Figure:
        names = self.feed.names
        curves = [Curve(series=self.feed.series(n), style=series_style(n, index)) for index, n in enumerate(names)]
        marks = mutation_marks(self.feed.events)
        figure = curve_figure(curves, y_title="", view=VIEW, marks=marks, title=", ".join(names), height=CURVES_HEIGHT)
        # The widget finds the range itself, so that a reader who has zoomed in is left alone.
        figure.layout.xaxis.range = None
        figure.layout.font.color = TEXT_COLOR
        return figure

    def _cell_figure(self) -> go.Figure:
        payload = self.feed.latest("genotype")
        changes = mutation_changes(self.feed.events)
        edits = changes[-1].edits if changes else ()
        edges = () if payload is None else cell_edges(payload["genotype"], payload, edits)
        figure = genotype_figure(edges, title="the cell", height=CELL_HEIGHT)
        figure.layout.font.color = TEXT_COLOR
        return figure

    def start(self) -> None:
        """Draw every `interval` seconds from now on, in the event loop that runs; nothing happens where none does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self.refresh() or not (self.curves.settled and self.cell.settled):
                await asyncio.sleep(self._interval)
        except LabError as error:
            self._heading.value = f"✗ {html.escape(str(error))}"
            raise

    def stop(self) -> None:
        """Draw no more; the figures stay as they are."""
        if self._task is not None:
            self._task.cancel()

    async def until(self, reached: Callable[[RunFeed], bool], *, timeout: float = 60.0) -> RunFeed:
        """Wait, without holding up the figures, until `reached(feed)` holds.

        Raises:
            TrainingError: the run ended before, or `timeout` seconds passed.
        """
        deadline = time.monotonic() + timeout
        while True:
            more = self.refresh()
            if reached(self.feed):
                return self.feed
            now = self.feed.snapshot().heading()
            if not more:
                raise TrainingError("a run that gets there", f"one that ended: {now}", "read its log")
            if time.monotonic() > deadline:
                raise TrainingError(f"it within {timeout:g} s", now, "wait longer, or read the run's log")
            await asyncio.sleep(self._interval)

    def __str__(self) -> str:
        return str(self.feed.snapshot())

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widgets, and the same as HTML and text where a page cannot show widgets."""
        moment = self.feed.snapshot()
        return mime_bundle(self._box, moment._repr_html_(), str(moment), **options)


def follow(
    run: RunHandle | Path | str, *, names: tuple[str, ...] = ("loss", "accuracy"), interval: float = 0.5
) -> Follower:
    """Draw a run live: the scalars `names` over the steps with every mutation marked, and the cell as a graph.

    Args:
        run: a handle of `start_run`, or a run's folder.
        names: scalars to draw.
        interval: seconds between two looks at the store, >= 0.05.

    Returns:
        A `Follower`: as the last line of a notebook cell it shows the figures, which go on while the run does.

    Raises:
        StoreError: the folder holds no run.
        ConfigError: an interval below 0.05.
    """
    require_range("interval", interval, 0.05)
    follower = Follower(RunFeed(run, names), interval)
    follower.start()
    return follower
