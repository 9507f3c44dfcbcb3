"""Plotly's figures and Jupyter's widgets, or the error that names the extra which brings them."""

from lab.base import missing_extra

try:
    import plotly.graph_objects as go
    from ipywidgets import HTML, FloatLogSlider, Layout, VBox
except ModuleNotFoundError as error:
    raise missing_extra("notebooks", "the lessons' figures", str(error.name).partition(".")[0]) from error

__all__ = ["HTML", "FloatLogSlider", "Layout", "VBox", "go"]
