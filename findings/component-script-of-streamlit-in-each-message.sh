#!/bin/bash
# A Streamlit component with an inline script sends its whole script again with every change of its data.
#
# Version: streamlit 1.67.0, components.v2.
# Expected: a script that was registered once, `component(name, js=...)`, goes to the browser once; a rerun that changes
#   the component's data sends the data.
# Seen: the message of each element of the component holds the script. Ten charts with a script of 5 kB cost 50 kB at
#   every tick of a live page, though a few bytes of data have changed. The cache of messages does not help: it knows
#   whole messages, and these differ by their data.
# Way out: a small script that calls a function of `window`, which another component has put there once.
# Source: streamlit/components/v2 and the proto BidiComponent (js_content).
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check streamlit==1.67.0
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys

import streamlit
from streamlit.testing.v1 import AppTest

PAGE = """
import streamlit as st

script = "export default function () {}" + chr(10) + "//" + "x" * 5000
probe = st.components.v2.component("probe", js=script)
st.session_state["count"] = st.session_state.get("count", 0) + 1
probe(key="a", data={"count": st.session_state["count"]})
"""
page = AppTest.from_string(PAGE)
sent = []
for number in (1, 2):
    page.run()
    (element,) = page.get("bidi_component")
    sent.append((element.proto.ByteSize(), len(element.proto.js_content)))
    print(f"streamlit {streamlit.__version__}, run {number}: message {sent[-1][0]} bytes, script in it {sent[-1][1]}")
sys.exit(0 if all(script > 5000 for _, script in sent) else 1)
PYTHON
