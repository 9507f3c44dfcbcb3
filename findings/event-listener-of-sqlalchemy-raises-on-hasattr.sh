#!/bin/bash
# `hasattr` on an attribute of every SQLAlchemy engine raises TypeError, so that tools which walk objects stop there.
#
# Version: SQLAlchemy 2.1.9, as Optuna's RDBStorage brings it.
# Expected: hasattr answers True or False; inspect.getmembers lists the members of any object.
# Seen: both raise `TypeError: cannot create weak reference to '_EmptyListener' object` for `engine.dispatch.begin`, the
#   place of a listener that nobody registered. The class has `ref` in its slots as a memoized attribute, which
#   MemoizedSlots.__getattr__ makes when it is read: a weak reference to an object whose class has no slot
#   `__weakref__`. Memory profilers and leak finders that ask each object for its slots meet it in every process that
#   has made an engine, a study of Optuna in a database among them.
# Source: sqlalchemy/event/attr.py (RefCollection._memoized_attr_ref), sqlalchemy/util/langhelpers.py (MemoizedSlots).
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sqlalchemy==2.1.9
"$folder/venv/bin/python" - <<'PYTHON'
import inspect
import sys

import sqlalchemy

listener = sqlalchemy.create_engine("sqlite://").dispatch.begin
print("SQLAlchemy", sqlalchemy.__version__, type(listener).__name__)
raised = 0
for name, ask in (("hasattr", lambda: hasattr(listener, "ref")), ("inspect.getmembers", lambda: inspect.getmembers(listener))):
    try:
        ask()
        print(f"{name}: an answer")
    except TypeError as error:
        raised += 1
        print(f"{name}: TypeError: {error}")
sys.exit(0 if raised == 2 else 1)
PYTHON
