"""The page: one of four, chosen at the top. Served by app.py.

Reads only the run store; imports no torch. The runs' folder: `--root`, else the environment variable LAB_RUNS, else
`runs`.
"""

import streamlit as st
from components.document import tell_language
from components.language import say

from lab.base import LabError, page_language

# A drawing of our own: for the browser tab, Streamlit would fetch a Material icon from another host.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<path d="M6 16h20M6 16Q16 0 26 16" fill="none" stroke="#2f7ef0" stroke-width="3"/>
<circle cx="6" cy="16" r="5" fill="#475569"/><circle cx="16" cy="16" r="5" fill="#475569"/>
<circle cx="26" cy="16" r="5" fill="#475569"/></svg>"""
st.set_page_config(page_title="lab", page_icon=ICON, layout="wide")

try:
    page_language()
except LabError as error:
    # `lab dashboard` refuses it before it starts; this is for the script on its own.
    st.error(str(error), icon=":material/error:")
    st.stop()

page = st.navigation(
    [
        st.Page(
            "app_pages/live.py",
            title=say("Live"),
            icon=":material/monitoring:",
            default=True,
            help=say("One run while it trains: genotype, temperature, stability, curves; and the buttons to steer it."),
        ),
        st.Page(
            "app_pages/runs.py",
            title=say("Runs"),
            icon=":material/list:",
            help=say("Every run with its state; two or more of them side by side."),
        ),
        st.Page(
            "app_pages/studies.py",
            title=say("Studies"),
            icon=":material/science:",
            help=say("Studies of lab tune: the best trial so far, what matters, what failed."),
        ),
        st.Page(
            "app_pages/help.py",
            title=say("Help"),
            icon=":material/help:",
            help=say("What each panel and each button means."),
        ),
    ],
    position="top",
)
page.run()
tell_language()
