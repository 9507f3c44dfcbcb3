"""What has changed of a figure since the browser got it: where curves have grown at their ends, little.

A figure that is large goes to the browser once, as a base. After that each tick sends what is different. `patch.js` has
the other half, `patched`. A patch is plain data:

    {"=": value}                      the value in its place
    {"k": count, "t": tail}           of a text: its first `count` letters, then `tail`
    {"k": count, "i": {...}, "t": []} of a list: its first `count` items, those of `i` patched, then the items of `t`
    {"d": {...}, "x": [...]}          of an object: these names patched or new, those gone
"""

import hashlib
from dataclasses import dataclass
from typing import Any

LARGE = 1_000
"""Bytes of a figure from which on it is sent as a base with patches. Streamlit sends what has not changed as a
reference, of less than a hundred bytes."""
MOST_PATCH, MOST_SHARE = 3_000, 0.5
"""Bytes of a patch, and its share of the figure, beyond which the figure becomes a new base. A curve of 20 kB that
grows by 150 bytes a tick costs least with a limit of the root of 2 x 20,000 x 150."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A figure that the browser has or is about to get."""

    text: str
    """Its JSON."""
    figure: Any
    """The same as plain data."""

    @property
    def id(self) -> str:
        """What patches name it by: it follows from the text."""
        return hashlib.blake2b(self.text.encode(), digest_size=12).hexdigest()

    @property
    def payload(self) -> bytes:
        """What its element carries: an object with `id` and `figure`."""
        return f'{{"id":"{self.id}","figure":{self.text}}}'.encode()


def difference(old: Any, new: Any) -> dict[str, Any] | None:
    """The patch that makes `new` of `old`, both plain data; None where they are equal."""
    if type(old) is not type(new):
        return {"=": new}
    if old == new:
        return None
    if isinstance(old, dict):
        inner = {
            name: {"=": value} if name not in old else difference(old[name], value)
            for name, value in new.items()
            if name not in old or old[name] != value
        }
        return {"d": inner, "x": [name for name in old if name not in new]}
    if isinstance(old, list):
        return _list_difference(old, new)
    if isinstance(old, str):
        keep = common_start(old, new)
        return {"k": keep, "t": new[keep:]}
    return {"=": new}


def _list_difference(old: list[Any], new: list[Any]) -> dict[str, Any]:
    both = min(len(old), len(new))
    if not all(isinstance(each, dict | list) for each in (*old[:both], *new[:both])):
        keep = common_start(old, new)
        return {"k": keep, "t": new[keep:]}
    inner = {str(place): difference(old[place], new[place]) for place in range(both) if old[place] != new[place]}
    return {"k": both, "i": inner, "t": new[both:]}


def common_start(old: Any, new: Any) -> int:
    """How many items at the beginning of two texts or lists are the same."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
