"""Spellings of the version before: they are read for one more version, and the new one is said."""

import sys
from collections.abc import Sequence

from lab.store.translation import SETTINGS

FLAGS = {f"--{old.replace('_', '-')}": f"--{new.replace('_', '-')}" for old, new in SETTINGS.items()}
"""Flag of the version before -> the flag now."""


def say_renamed(old: str, new: str) -> None:
    """One line on the error stream: the next version will not accept the old spelling."""
    sys.stderr.write(f"lab: {old} is now {new}\n")


def current_flags(words: Sequence[str]) -> list[str]:
    """The words of a command line with today's flags; one line on the error stream for each that was replaced."""
    found = []
    for word in words:
        flag, equals, value = word.partition("=")
        new = FLAGS.get(flag.replace("_", "-"))
        if new is not None:
            say_renamed(flag, new)
        found.append(word if new is None else f"{new}{equals}{value}")
    return found
