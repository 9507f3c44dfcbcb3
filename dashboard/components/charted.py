"""What `lab.charts` writes, in the page's language: charts are pure functions and know English alone.

A sentence with numbers in it is found by its form: the catalogue has `Mutation {number} at step {step}: {status}`, and
what stands at the placeholders is read in turn. What has no entry, such as the name of a class, stays as it is.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.language import catalogue
from lab.base import page_language
from lab.charts import figure_spec

# Plotly's own placeholders, %{x}, belong to the text.
PLACE = re.compile(r"(?<!%)\{(\w+)\}")
NUMBERS = ("count", "number", "step")
"""What the names of places begin with at which a number stands, and nothing else."""
SEPARATORS = ("<br>", "; ")
"""What parts of one text stand apart by."""
TEXT_FIELDS = frozenset({"text", "ticktext", "hovertext", "hovertemplate", "customdata"})
"""Fields of a figure that a person reads, wherever they stand; the names of traces are one more."""


@cache
def _forms(language: str) -> Sequence[tuple[re.Pattern[str], str]]:
    """Texts with placeholders as patterns, and in `language`: those with most text of their own first."""
    found = {text: told for text, told in catalogue(language, charts=True).items() if PLACE.search(text)}
    order = sorted(found, key=lambda text: -len(PLACE.sub("", text)))
    return [(re.compile(_pattern(text), re.DOTALL), found[text]) for text in order]


def _pattern(text: str) -> str:
    found = ""
    for place, part in enumerate(PLACE.split(text)):
        form = r"[\d.,]+" if part.startswith(NUMBERS) else ".+?"
        found += f"(?P<{part}>{form})" if place % 2 else re.escape(part)
    return rf"{found}\Z"


def charted(text: str) -> str:
    """A text of `lab.charts` in the page's language."""
    language = page_language()
    return text if language == "en" else _charted(text, language)


@lru_cache(maxsize=8192)
def _charted(text: str, language: str) -> str:
    whole = catalogue(language, charts=True).get(text)
    if whole is not None:
        return whole
    for pattern, told in _forms(language):
        match = pattern.match(text)
        if match is not None:
            values = {name: _charted(value, language) for name, value in match.groupdict().items()}
            return PLACE.sub(lambda place, values=values: values[place.group(1)], told)  # type: ignore[misc]
    for separator in SEPARATORS:
        if separator in text:
            return separator.join(_charted(part, language) for part in text.split(separator))
    return text


def charted_rows(rows: Sequence[Mapping[str, str]], *columns: str) -> list[dict[str, str]]:
    """A table of `lab.charts` with titles in the page's language.

    Args:
        columns: those whose entries `lab.charts` has written; what stands in the others was stored.
    """
    return [{charted(name): charted(text) if name in columns else text for name, text in row.items()} for row in rows]


def charted_figure(figure: go.Figure, *, own_names: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces and layout of a figure as plain data with its texts in the page's language.

    Args:
        own_names: the names of its lines and of its values are those of runs or metrics, and stay.
    """
    data, layout = map(_copied, figure_spec(figure))
    if not own_names:
        _translate(data, TEXT_FIELDS | {"name"})
        _translate(layout, TEXT_FIELDS | {"name"})
        return data, layout
    values = layout.pop("yaxis", None)
    _translate(data, TEXT_FIELDS)
    _translate(layout, TEXT_FIELDS)
    if values is not None:
        layout["yaxis"] = values
    for trace in data:
        trace["name"] = _own_name(trace.get("name", ""))
    return data, layout


def _copied(node: Any) -> Any:
    """Plain data that may be written to; arrays of numbers are not copied."""
    if isinstance(node, Mapping):
        return {key: _copied(value) for key, value in node.items()}
    if isinstance(node, np.ndarray) and node.dtype.kind in "OU":
        return node.tolist()
    return [_copied(value) for value in node] if isinstance(node, list | tuple) else node


def _own_name(text: str) -> str:
    """The name of a line, which stays, with what `lab.charts` has written behind it: `loss: NaN or Inf (3)`."""
    for pattern, told in _forms(page_language()):
        match = pattern.match(text) if "name" in pattern.groupindex else None
        if match is not None:
            return PLACE.sub(lambda place, found=match: found[place.group(1)], told)  # type: ignore[misc]
    return text


def _translate(node: dict[str, Any] | list[Any], fields: frozenset[str]) -> None:
    """Translate what stands in the fields of all that is in `node`, in place."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict):
            _translate(value, fields)
        elif isinstance(value, str) and key in fields:
            node[key] = charted(value)  # type: ignore[index,call-overload]
        elif isinstance(value, list | tuple) and len(value):
            if key in fields:
                node[key] = _translated(value)  # type: ignore[index,call-overload]
            elif isinstance(value[0], dict):
                _translate(value, fields)  # type: ignore[arg-type]


def _translated(values: Sequence[Any]) -> list[Any]:
    """Texts of points, or of the cells of a heat map."""
    return [
        charted(each) if isinstance(each, str) else _translated(each) if isinstance(each, list | tuple) else each
        for each in values
    ]
