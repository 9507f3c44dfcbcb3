"""Messages of a training as a page writes them: a terminal has ASCII alone, a page has arrows and plus-minus."""

from dataclasses import replace
from typing import Any

from lab.store import EventRow

SIGNS = {"->": "→", "+-": "±"}
"""What a training writes -> what a page shows."""


def typeset(event: EventRow) -> EventRow:
    """The event with the texts of its payload as a page writes them; itself where nothing changes."""
    payload = _typeset(event.payload)
    return event if payload is event.payload else replace(event, payload=payload)


def _typeset(node: Any) -> Any:
    """A text, or what holds texts; the very same object where nothing changes."""
    if isinstance(node, str):
        for written, shown in SIGNS.items():
            if written in node:
                node = node.replace(written, shown)
        return node
    if isinstance(node, dict):
        found = {name: _typeset(value) for name, value in node.items() if isinstance(value, str | dict | list)}
        changed = {name: value for name, value in found.items() if value is not node[name]}
        return {**node, **changed} if changed else node
    # Rows of numbers and of edges hold no sentence.
    if isinstance(node, list) and node and isinstance(node[0], str | dict):
        rows = [_typeset(row) for row in node]
        return rows if any(row is not old for row, old in zip(rows, node, strict=True)) else node
    return node
