"""Plotly figures that stay in the page while their data changes: no flicker, and a zoom is kept.

Streamlit's own chart element is taken down and built anew at each change of its figure. Here the figure is data of a
component that redraws in place. Plotly's code comes from the installed package and goes to the browser once.
"""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st
from plotly.offline import get_plotlyjs

from components.figures import Drawing
from components.language import later, say
from components.patch import Base

WAITING = later("The chart is on its way.")
"""What stands at a place until the script has drawn there."""


def figure_script(name: str) -> str:
    """The script `name` behind what all that draw figures share; a component's script can import no other file."""
    here = Path(__file__)
    return "\n".join(here.with_name(file).read_text(encoding="utf-8") for file in ("figure.js", name))


_LIBRARY = st.components.v2.component(
    "lab_plotly", js=f"{get_plotlyjs()}\nexport default function () {{}}\n", isolate_styles=False
)
_CHART = st.components.v2.component("lab_chart", js=figure_script("chart.js"), isolate_styles=False)


_BASE = st.components.v2.component(
    "lab_base", js=Path(__file__).with_name("base.js").read_text(encoding="utf-8"), isolate_styles=False
)


def load_plotly() -> None:
    """Bring Plotly to the browser; once for each full run of a page that draws charts, outside its live part."""
    _LIBRARY(key="plotly_library", height=1)


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
    """What a script of a chart is told of its figure: the figure, or a patch and the id of its base."""
    return {"figure": drawing.text, "base": "" if drawing.base is None else drawing.base.id}


def draw_bases(bases: Mapping[str, Base]) -> None:
    """Bring the bases of a tick's drawings to the browser; one that it has costs a reference."""
    with st.container(gap=None):
        for name, base in bases.items():
            _BASE(key=f"base_{name}", data=base.payload, height=1)
