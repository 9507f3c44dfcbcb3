#!/bin/bash
# `import nbformat` builds dozens of parsers where jupyter-events is installed, as it is with every Jupyter server.
#
# Version: nbformat 5.10.4, jsonschema 4.26.0, rfc3987-syntax 1.1.0, lark 1.3.1, jupyter-events 0.12.1.
# Expected: checks of formats are an option of jsonschema that nobody asked for here; importing nbformat costs the same
#   with and without the package that one of these checks needs.
# Seen: the import takes many times as long (0.13 s -> 1.57 s of processor time where this was written).
#   jsonschema/_format.py imports rfc3987_syntax wherever it is there, whose helper module makes one Lark parser for all
#   of the grammar and then one more for each of its rules, at import. jupyter-events asks for jsonschema[format-nongpl],
#   so that every process which touches nbformat pays: Jupyter's own, and kernels in which plotly makes a FigureWidget.
# Source: jsonschema/_format.py (is_iri), rfc3987_syntax/syntax_helpers.py, metadata of jupyter-events.
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/script.py" <<'PYTHON'
import sys
import time

began = time.process_time()
import nbformat  # noqa: F401

seconds = time.process_time() - began
parsers = 0
if "lark" in sys.modules:
    import gc

    import lark

    parsers = sum(isinstance(each, lark.Lark) for each in gc.get_objects())
print(f"{seconds:.3f} {parsers}")
PYTHON
measure() { # name of the environment: the quickest of five imports, and the parsers that are there behind it
  for _ in 1 2 3 4 5; do "$folder/$1/bin/python" "$folder/script.py"; done | sort -n | head -1
}
for name in plain jupyter; do
  python3 -m venv "$folder/$name"
  "$folder/$name/bin/pip" install --quiet nbformat==5.10.4 jsonschema==4.26.0
done
"$folder/jupyter/bin/pip" install --quiet jupyter-events==0.12.1 rfc3987-syntax==1.1.0 lark==1.3.1
# What pip compiled is read by all runs alike.
read -r plain_seconds plain_parsers < <(measure plain)
read -r seconds parsers < <(measure jupyter)
echo "import nbformat alone:               $plain_seconds s of processor time, $plain_parsers parsers"
echo "import nbformat with jupyter-events: $seconds s of processor time, $parsers parsers"
awk -v a="$plain_seconds" -v b="$seconds" -v n="$parsers" 'BEGIN { exit !(b > 3 * a && n > 10) }' && exit 0
echo "this has changed"
exit 1
