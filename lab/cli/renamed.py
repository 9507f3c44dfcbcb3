"""Flags that had another name in the version before: they are read once more, and the name now is said."""

import sys
from collections.abc import Sequence

from lab.store.translation import SETTINGS

FLAGS = {f"--{old.replace('_', '-')}": f"--{new.replace('_', '-')}" for old, new in SETTINGS.items()}
"""Flag of the version before -> the flag now."""


def current_flags(words: Sequence[str]) -> list[str]:
    """The words of a command line with today's flags; one line on the error stream for each that was replaced."""
    found = []
    for word in words:
        flag, equals, value = word.partition("=")
        new = FLAGS.get(flag.replace("_", "-"))
        if new is not None:
            sys.stderr.write(f"lab: {flag} is now {new}; the next version will not accept {flag}\n")
        found.append(word if new is None else f"{new}{equals}{value}")
    return found
