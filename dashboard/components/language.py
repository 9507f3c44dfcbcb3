"""The page's texts in the language that LAB_LANG asks for: the English text in the code is the key.

The other languages stand beside each other in `languages/*.toml`, a table for each text. Python's own gettext reads
compiled files alone: a text that is changed would not be seen before somebody compiles them, and no difference of two
versions could be read. English needs no file. What a run has stored (reasons, names of primitives, of metrics) and what
an error of the lab says stay as they are.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lab.base import LabError, page_language

FOLDER = Path(__file__).parents[1] / "languages"
CHARTS = "charts.toml"
"""The file with the texts that `lab.charts` writes; see `components.charted`."""


@cache
def catalogue(language: str, charts: bool = False) -> Mapping[str, str]:
    """English text -> text in `language`, of the page or of what `lab.charts` writes; empty for English."""
    if language == "en":
        return {}
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        if (path.name == CHARTS) == charts:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            found |= {text: others[language] for text, others in table.items()}
    return found


def say(text: str, /, **values: Any) -> str:
    """The text in the page's language, with `values` at its placeholders (`{step:,}`).

    A text that the catalogue lacks is said in English: a page must not end by that. A test finds it.
    """
    told = catalogue(page_language()).get(text, text)
    return told.format(**values) if values else told


def say_error(error: LabError) -> str:
    """What an error says; what the page itself expected is in its language, what a part of the lab did in English."""
    if page_language() == "en":
        return str(error)
    hint = error.hint.removesuffix(".")
    return say("expected {expected}, got {got}. {hint}.", expected=error.expected, got=error.got, hint=hint)


def later(text: str) -> str:
    """A text of the catalogue that stands in a constant: whoever shows it passes it through `say`."""
    return text
