"""The scripts of the page's parts: they go to the browser once, together; what is drawn at each tick calls them.

Streamlit sends the script of a component anew with each change of its data. So one component, which never changes, puts
all of them into the page, as `window.labParts`, name -> function; a part's own script is a short call.
"""

from pathlib import Path
from typing import Any

import plotly
import streamlit as st

PARTS = {
    "chart": ("patch.js", "figure.js", "chart.js"),
    "base": ("base.js",),
    "wall": ("patch.js", "figure.js", "wall.js"),
    "slider": ("patch.js", "slider.js"),
    "ask": ("ask.js",),
}
"""Name of each part -> its files; those before the last one hold what it shares with others."""
STYLES = ("figure.css", "slider.css", "wall.css")
ENTRY = "export default function "
"""What a part's last file has once: the function that Streamlit would call."""
CALL = """export default (call) => {
let end, wait;
const go = () => {
const part = window.labParts?.NAME;
if (part) end = part(call);
else wait = setTimeout(go, 20);
};
go();
return () => { clearTimeout(wait); end?.(); };
};
"""
"""The script of a part: it hands over what Streamlit gave it, as soon as the part has come.

In several lines: Streamlit takes one line with a `?` for the path of a file."""


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def all_parts() -> str:
    """The script that puts every part into the page. Each stands in a block: names of one are unknown to the others."""
    found = ["window.labParts ??= {};"]
    for name, files in PARTS.items():
        text = "\n".join(map(_read, files))
        assert text.count(ENTRY) == 1, name
        found.append("{\n" + text.replace(ENTRY, f"window.labParts.{name} = function ") + "}")
    return "\n".join([*found, "export default function () {}"])


def part(name: str) -> Any:
    """The component of a part, for a module that draws it."""
    assert name in PARTS
    return st.components.v2.component(f"lab_{name}", js=CALL.replace("NAME", name), isolate_styles=False)


_SCRIPTS = st.components.v2.component(
    "lab_scripts", js=all_parts(), css="\n".join(map(_read, STYLES)), isolate_styles=False
)
PLOTLY_ADDRESS = f"/plotly-{plotly.__version__}.js"
"""Where the server of app.py has Plotly's script."""
PLOTLY = f"""export default function () {{
  if (window.labPlotly) return;
  window.labPlotly = document.createElement("script");
  window.labPlotly.src = "{PLOTLY_ADDRESS}";
  window.labPlotly.onerror = () => (window.labPlotly = undefined);
  document.head.appendChild(window.labPlotly);
}}
"""
_PLOTLY = st.components.v2.component("lab_plotly", js=PLOTLY, isolate_styles=False)


def load_scripts() -> None:
    """Bring the parts and Plotly to the browser; once for each full run of a page, outside its live part."""
    with st.container(gap=None):
        _PLOTLY(key="plotly_library", height=1)
        _SCRIPTS(key="scripts", height=1)
