"""`LazyFigure`: a Plotly figure that Plotly checks when somebody looks into it.

Plotly checks and copies each part of a figure when it is made: of a curve with two hundred marks that takes 20 ms. A
page that draws six of them each second hands them on as they are and needs no check.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.charts.plotly import go


class LazyFigure(go.Figure):
    """A `go.Figure` in all respects; whatever is asked of it but `spec` makes it one.

    Args:
        data: traces as plain data; arrays may be NumPy's.
        layout: as plain data.

    Raises:
        ValueError: at the first look, where Plotly knows no such property.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> None:
        # Nothing else is set: all that is missing is found by __getattr__.
        self.__dict__["_unchecked"] = (data, layout)

    def __getattr__(self, name: str) -> Any:
        if "_unchecked" not in self.__dict__:
            raise AttributeError(name)
        data, layout = self.__dict__.pop("_unchecked")
        super().__init__(data=data, layout=layout)
        return getattr(self, name)

    def __reduce__(self) -> Any:
        # A copy is a plain figure.
        return go.Figure, super().__reduce__()[1]

    @property
    def spec(self) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """Traces and layout as plain data, to be read only."""
        if "_unchecked" in self.__dict__:
            found: tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]] = self.__dict__["_unchecked"]
            return found
        plain = self.to_plotly_json()
        return plain["data"], plain["layout"]


def figure_spec(figure: go.Figure) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
    """Traces and layout of any figure as plain data, to be read only; arrays may be NumPy's or base64."""
    if isinstance(figure, LazyFigure):
        return figure.spec
    plain = figure.to_plotly_json()
    return plain["data"], plain["layout"]
