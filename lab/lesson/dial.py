"""A picture that follows a slider, and the same picture as text and HTML where no page moves the slider.

The slider is a widget; what it shows is a function of its value. A page that is slow is not flooded: it gets the
latest picture when it has drawn the one before.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

from lab.base import require_range
from lab.lesson.picture import Picture
from lab.lesson.widgets import TEXT_COLOR, FloatLogSlider, Layout, VBox, go, mime_bundle

STEPS = 40
"""Positions of the slider between its ends."""


class Drawable(Protocol):
    """What a dial shows: a figure, and the same as text and HTML."""

    def figure(self) -> go.Figure: ...

    def _repr_html_(self) -> str: ...


class Dial:
    """A slider on a logarithmic scale and the picture of its value.

    Args:
        show: what is shown for a value of the slider; `Shares` for instance.
        name: stands before the slider.
        start: first value, in [low, high].
        low: least value, > 0.
        high: greatest value, > low.

    Raises:
        ConfigError: a value outside its range.
    """

    def __init__(self, show: Callable[[float], Drawable], *, name: str, start: float, low: float, high: float) -> None:
        require_range("low", low, 0.0, open_low=True)
        require_range("high", high, low, open_low=True)
        require_range("start", start, low, high)
        self._show = show
        self._heard: go.FigureWidget | None = None
        ends = math.log10(low), math.log10(high)
        self.slider = FloatLogSlider(
            value=start,
            min=ends[0],
            max=ends[1],
            step=(ends[1] - ends[0]) / STEPS,
            description=name,
            readout_format=".3g",
            style={"description_width": "initial"},
            layout=Layout(width="32em"),
        )
        self.picture = Picture()
        self.shown: Drawable = show(start)
        """What is shown now."""
        self._box = VBox([self.slider])
        self._draw()
        self.slider.observe(self._turned, names="value")

    def turn(self, value: float) -> Drawable:
        """Move the slider to `value`, as a reader does with the mouse; what is shown then.

        Raises:
            ConfigError: `value` lies outside the slider's ends.
        """
        require_range("value", value, 10**self.slider.min * (1 - 1e-9), 10**self.slider.max * (1 + 1e-9))
        self.slider.value = value
        return self.shown

    def _turned(self, change: Any) -> None:
        self.shown = self._show(change.new)
        self._draw()

    def _draw(self) -> None:
        figure = self.shown.figure()
        figure.layout.font.color = TEXT_COLOR
        figure.update_traces(textfont={"color": TEXT_COLOR})
        self.picture.show(figure)
        self._place()

    def _place(self) -> None:
        widget = self.picture.widget
        if widget is not None and widget is not self._heard:
            self._heard = widget
            widget.observe(self._answered, names="_js2py_traceDeltas")
        self._box.children = (self.slider,) if widget is None else (self.slider, widget)

    def _answered(self, change: Any) -> None:
        """The page has drawn a picture: send the next one if the slider has been turned meanwhile."""
        self.picture.tend()
        self._place()

    def __str__(self) -> str:
        return f"{self.slider.description} = {self.slider.value:.3g}\n{self.shown}"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widgets, and the same as HTML and text where a page cannot show widgets."""
        return mime_bundle(self._box, self.shown._repr_html_(), str(self), **options)
