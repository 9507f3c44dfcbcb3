"""The error of an unknown name, with the nearest known one."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from lab.base import ConfigError


def unknown(
    what: str, got: str, known: Collection[str], help_command: str, others: Mapping[str, str] = MappingProxyType({})
) -> ConfigError:
    """The error of a name that is not among the known ones, with the nearest of them.

    Args:
        what: kind of name.
        got: the name.
        known: those that there are.
        help_command: what lists them.
        others: names that are meant elsewhere -> how each is spelled.
    """
    near = nearest(got, [*known, *others])
    hint = f"did you mean {others.get(near, near)}?" if near else f"see {help_command}"
    return ConfigError(f"{what} among {', '.join(known)}", repr(got), hint)


def nearest(word: str, known: Collection[str]) -> str:
    """The known word that `word` is probably meant to be; empty where none is near."""
    # Takes as long to import as a help page takes to write, and is needed after a mistake only.
    import difflib

    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.65)), "")
