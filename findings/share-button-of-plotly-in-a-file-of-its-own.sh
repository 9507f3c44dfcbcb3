#!/bin/bash
# A figure that Plotly writes as a file of its own has a button that uploads the figure's data, without being asked for it.
#
# Version: plotly 7.1.0; 6.0.0 beside it.
# Expected: `figure.to_html()` with the library inside makes a file that needs no network and offers to send nothing; the
#   button `sendDataToCloud` has been opt-in for years (`showSendToCloud`, default false).
# Seen: the library that comes with 7.1.0 has `showSendToCloud` on by default, under the title "Share chart..."; `to_html`
#   and the figure widget pass no value of it. So reports and notebooks that were made with 6 got the button by an update.
# Way out: config={"showSendToCloud": False}; a figure widget takes it as `_config` alone.
# Source: plotly/package_data/plotly.min.js, plot_config; release 3.7.0 of plotly.js names the new upload, not the default.
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for version in 6.0.0 7.1.0; do
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "plotly==$version" numpy 2>/dev/null
  "$folder/venv/bin/python" - <<'PYTHON' | tee -a "$folder/seen"
import re

import plotly
import plotly.graph_objects as go

page = go.Figure(go.Scatter(y=[1, 2])).to_html(include_plotlyjs=True)
default = re.search(r'showSendToCloud:\{valType:"boolean",dflt:!([01])', page).group(1) == "0"
given = re.findall(r'"showSendToCloud"\s*:', page[page.rindex("Plotly.newPlot(") :])
title = "Share chart..." in page
print(f"plotly {plotly.__version__}: on by default {default}, passed by to_html {bool(given)}, 'Share chart...' {title}")
PYTHON
done
grep -q "plotly 6.0.0: on by default False, passed by to_html False, 'Share chart...' False" "$folder/seen" &&
  grep -q "plotly 7.1.0: on by default True, passed by to_html False, 'Share chart...' True" "$folder/seen"
