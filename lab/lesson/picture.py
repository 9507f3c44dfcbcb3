"""A Plotly figure that a page draws and keeps up to date, also where the page is slow.

A page can lose a `FigureWidget` in three ways, each of which leaves an old or empty figure for ever. Messages that come
before the page has drawn the widget are forgotten (it draws from the stored state); a page that needs more than two
seconds to load the widget's code goes deaf for it; a page that draws more slowly than it is told to falls behind. So
the stored state is kept up to date, no message is sent while the page has not answered the last one, and a widget whose
page has stopped answering is replaced. What cannot be told apart is a page that was closed: it costs one replacement.
"""

import time
from typing import Any

from lab.lesson.widgets import fitted, go

PATIENCE_SECONDS = 5.0
"""Time without an answer after which a widget is replaced; doubles with each replacement."""


class Picture:
    """One figure; `widget` is what a page shows, another object from time to time."""

    def __init__(self) -> None:
        self.widget: go.FigureWidget | None = None
        """None until there is a figure with a trace."""
        self._wanted: go.Figure | None = None
        self._sent: go.Figure | None = None
        self._answered: int | None = None
        self._answered_at = 0.0
        self._patience = PATIENCE_SECONDS

    def show(self, figure: go.Figure) -> None:
        """Draw `figure` once the page is ready for it; the reader's zoom stays. One without traces is not drawn."""
        if figure.data and figure != self._wanted:
            self._wanted = figure
            self.tend()

    @property
    def settled(self) -> bool:
        """Whether the page, if there is one, has drawn the latest figure."""
        return self._sent is self._wanted and not self._behind

    @property
    def _behind(self) -> bool:
        """Whether the page has answered once, and not yet to the latest message."""
        if self.widget is None or self._answered is None:
            return False
        return self._answered < self.widget._last_trace_edit_id

    def tend(self) -> None:
        """Send the latest figure if the page is ready, and replace a widget whose page has stopped answering."""
        if self._wanted is None:
            return
        if self.widget is None or len(self.widget.data) != len(self._wanted.data):
            self._replace(self._wanted)
        elif self._behind:
            if time.monotonic() - self._answered_at > self._patience:
                self._patience *= 2
                self._replace(self._wanted)
        elif self._sent is not self._wanted:
            _update(self.widget, self._wanted)
            self._sent = self._wanted

    def _replace(self, figure: go.Figure) -> None:
        self.widget = fitted(go.FigureWidget(figure))
        self.widget.observe(self._hear, names="_js2py_traceDeltas")
        self._sent = figure
        self._answered = None

    def _hear(self, change: Any) -> None:
        """Take the page's answer: how many traces it has, and the number of the message that it has drawn."""
        if change.new is None or self.widget is None or change.owner is not self.widget:
            return
        whole = len(change.new["trace_deltas"]) == len(self.widget.data)
        self._answered = change.new["trace_edit_id"] if whole else -1
        self._answered_at = time.monotonic()


def _update(widget: go.FigureWidget, figure: go.Figure) -> None:
    """Make `widget` show `figure`, which has as many traces, in one message of what differs."""
    traces = [{**new.to_plotly_json(), "uid": old.uid} for old, new in zip(widget.data, figure.data, strict=True)]
    layout = figure.layout.to_plotly_json()
    # The stored state, from which a page draws that comes late; the update below is only a message to pages.
    widget._widget_data, widget._widget_layout = traces, {**figure.layout.to_plotly_json(), "autosize": True}
    with widget.batch_update():
        for old, trace in zip(widget.data, traces, strict=True):
            old.update(trace, overwrite=True)
        for name in ("annotations", "shapes"):
            widget.layout[name] = layout.pop(name, [])
        widget.layout.update(layout)
