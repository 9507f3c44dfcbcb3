"""Plotly's figures and Jupyter's widgets, or the error that names the extra which brings them."""

from typing import Any

from lab.base import missing_extra

try:
    import plotly.graph_objects as go
    from ipywidgets import HTML, FloatLogSlider, Layout, RadioButtons, VBox
except ModuleNotFoundError as error:
    raise missing_extra("notebooks", "the lessons' figures", str(error.name).partition(".")[0]) from error

__all__ = [
    "HTML",
    "TEXT_COLOR",
    "FloatLogSlider",
    "Layout",
    "RadioButtons",
    "VBox",
    "fitted",
    "formatted",
    "go",
    "mime_bundle",
]

TEXT_COLOR = "#767676"
"""Contrast over 4 to 1 with a white and with a black page: a widget cannot know the notebook's theme."""


PAGE_CONFIG = {"responsive": True, "showSendToCloud": False, "displaylogo": False}
"""A figure follows the width of the window, and has no button that sends it to a server."""


def formatted(page: str) -> HTML:
    """The HTML of a report in a widget, which Jupyter Lab formats as it formats a report without one."""
    text = HTML(page)
    text.add_class("jp-RenderedHTMLCommon")
    return text


def fitted(widget: go.FigureWidget) -> go.FigureWidget:
    """The same figure, which takes the width that there is once a page has drawn it, and follows that of the window.

    A page draws it before it has a place, 700 pixels wide: more than Jupyter Lab has beside its list of files where the
    window has 1000. Then it answers, and is asked to fit. An answer that it has given before is that of another cell
    which shows the figure, or of a page that was loaded again. A page that never answers fits with the first change.
    """
    widget._config = PAGE_CONFIG
    widget._widget_layout = {**widget._widget_layout, "autosize": True}
    answered: list[int] = []

    def fit(change: Any) -> None:
        if change.new is None:
            return
        number = change.new["trace_edit_id"]
        if not answered or number == answered[-1]:
            # `plotly_relayout` would send it once, and nothing where it has been sent before.
            widget._send_relayout_msg({"autosize": True})
        answered[:] = [number]

    widget.observe(fit, names="_js2py_traceDeltas")
    return widget


def mime_bundle(box: VBox, html: str, text: str, **options: Any) -> dict[str, Any]:
    """The widgets, and the same as HTML and text where a page cannot show widgets."""
    bundle: Any = box._repr_mimebundle_(**options)
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return {**data, "text/html": html, "text/plain": text}
