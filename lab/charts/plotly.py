"""Plotly's figures, or the error that names the extra which brings them."""

from lab.base import missing_extra

try:
    import plotly.graph_objects as go
except ModuleNotFoundError as error:
    raise missing_extra("page", "charts", "plotly") from error

__all__ = ["go"]
