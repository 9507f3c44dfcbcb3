"""Plotly figures that stay in the page while their data changes: no flicker, and a zoom is kept.

Streamlit's own chart element is taken down and built anew at each change of its figure. Here the figure is data of a
component that redraws in place. Plotly's code comes from the installed package.
"""

from collections.abc import Mapping

import streamlit as st

from components.figures import Drawing
from components.language import later, say
from components.patch import Base
from components.scripts import part

WAITING = later("The chart is on its way.")
"""What stands at a place until the script has drawn there."""


_CHART, _BASE = part("chart"), part("base")


def draw(drawing: Drawing, *, key: str, label: str, view: str = "") -> None:
    """Draw at a place that `key` names, text in the colour of the page's theme.

    Args:
        label: what the chart shows, for those who cannot see it.
        view: a zoom lasts as long as this text stays the same.
    """
    data = {
        **chart_data(drawing),
        "height": drawing.height,
        "view": view,
        "label": label,
        "waiting": say(WAITING),
    }
    _CHART(key=key, data=data, height=drawing.height)


def chart_data(drawing: Drawing) -> dict[str, str]:
    """What a script is told of its figure or of other data: the whole, or a patch and the id of its base."""
    return {"figure": drawing.text, "base": "" if drawing.base is None else drawing.base.id}


def draw_bases(bases: Mapping[str, Base]) -> None:
    """Bring the bases of a tick's drawings to the browser; one that it has costs a reference."""
    with st.container(gap=None):
        for name, base in bases.items():
            _BASE(key=f"base_{name}", data=base.payload, height=1)
