#!/bin/bash
# Streamlit takes an inline script of one line for the path of a file where it has `?.`, an array, a slash or a comment.
#
# Version: streamlit 1.67.0, components.v2.
# Expected: `component(name, js=...)` takes inline JavaScript, as its documentation says; how a script is broken into
#   lines changes nothing of what it means.
# Seen: of one and the same module the form of two lines is registered, the form of one line raises that the component
#   "must be declared in pyproject.toml with asset_dir to use file-backed js". `?`, `*`, `[`, `]` count as signs of a glob
#   and `/` as one of a path, so optional chaining, an array, a division or a comment make a file of a script.
# Way out: begin or end the script so that a line break lies within it; one at the very end is stripped first.
# Source: streamlit/components/v2/component_path_utils.py, looks_like_inline_content.
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

FORMS = {
    "optional chaining": "({ data }) => console.log(data?.count)",
    "an array": "({ data }) => console.log([data])",
    "a division": "({ data }) => console.log(data / 2)",
    "none of these": "({ data }) => console.log(data)",
}
PAGE = """
import streamlit as st

st.components.v2.component("probe", js={script!r})(key="a", data=4)
"""


def registered(script: str) -> bool:
    page = AppTest.from_string(PAGE.format(script=script))
    page.run()
    return not page.exception


seen = {}
for name, body in FORMS.items():
    seen[name] = (registered(f"export default {body};"), registered(f"export default\n{body};"))
    print(f"streamlit {streamlit.__version__}, {name}: one line {seen[name][0]}, two lines {seen[name][1]}")
expected = {name: (name == "none of these", True) for name in FORMS}
sys.exit(0 if seen == expected else 1)
PYTHON
