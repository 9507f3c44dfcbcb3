"""Copies of lists and tuples that keep their type."""

from collections.abc import Iterable
from typing import Any


def sequence_like(kept: Any, items: Iterable[Any]) -> Any:
    """`items` as a sequence of the type of `kept`.

    Args:
        kept: a list or tuple; the type of a named tuple takes its fields one by one, every other one an iterable.
        items: as many as a named tuple has fields.
    """
    return type(kept)(*items) if hasattr(kept, "_fields") else type(kept)(list(items))
