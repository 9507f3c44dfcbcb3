"""Plotly's figures and Jupyter's widgets, or the error that names the extra which brings them."""

from typing import Any

from lab.base import missing_extra

try:
    import plotly.graph_objects as go
    from ipywidgets import HTML, FloatLogSlider, Layout, RadioButtons, VBox
except ModuleNotFoundError as error:
    raise missing_extra("notebooks", "the lessons' figures", str(error.name).partition(".")[0]) from error

__all__ = ["HTML", "TEXT_COLOR", "FloatLogSlider", "Layout", "RadioButtons", "VBox", "fitted", "go", "mime_bundle"]

TEXT_COLOR = "#767676"
"""Contrast over 4 to 1 with a white and with a black page: a widget cannot know the notebook's theme."""


def fitted(widget: go.FigureWidget) -> go.FigureWidget:
    """The same figure, which takes the width that there is once a page has drawn it.

    A page draws it before it has a place, 700 pixels wide: more than Jupyter Lab has beside its list of files where the
    window has 1000.
    """

    def fit(change: Any) -> None:
        if change.new is not None:
            widget.unobserve(fit, names="_js2py_traceDeltas")
            widget.plotly_relayout({"autosize": True})

    widget.observe(fit, names="_js2py_traceDeltas")
    return widget


def mime_bundle(box: VBox, html: str, text: str, **options: Any) -> dict[str, Any]:
    """The widgets, and the same as HTML and text where a page cannot show widgets."""
    bundle: Any = box._repr_mimebundle_(**options)
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return {**data, "text/html": html, "text/plain": text}
