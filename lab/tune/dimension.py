"""What a study searches: a field and its values, read from `FIELD=low:high[:log]` or `FIELD=a,b,c`.

Covers the spelling and the types of the fields of a run. Which values a run accepts is said by `RunConfig` itself.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import ConfigError, parse_json, require
from lab.runs import RECORDS, RunConfig

Value = bool | int | float | str | None
SPELLING = "FIELD=low:high, FIELD=low:high:log or FIELD=a,b,c"
FIXED = frozenset({"recipe", "epochs", "budget", "extended_to", "seed_of_study"})
"""Fields that say what a study is, and are therefore never searched."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One searched field: a range of numbers, or a list of choices."""

    field: str
    """Name of the field."""
    low: float | None = None
    """Smallest value of a range; None for choices."""
    high: float | None = None
    """Largest value of a range, > low; None for choices."""
    log: bool = False
    """Whether the range is searched by the logarithm; then low > 0."""
    whole: bool = False
    """Whether the range has whole numbers only."""
    choices: tuple[Value, ...] = ()
    """The values to choose from, at least two and none twice; empty for a range."""

    def __post_init__(self) -> None:
        if self.choices:
            require(
                len(set(map(repr, self.choices))) == len(self.choices) > 1,
                expected=f"two or more different values of {self.field}",
                got=", ".join(map(str, self.choices)),
                hint=f"write {SPELLING}",
            )
            return
        ordered = self.low is not None and self.high is not None and self.low < self.high < math.inf
        require(
            ordered and self.low != -math.inf,
            expected=f"low < high for {self.field}",
            got=f"{self.low}:{self.high}, an empty range",
            hint=f"write {SPELLING}",
        )
        require(
            not self.log or (self.low or 0) > 0,
            expected=f"low > 0 for the logarithmic range of {self.field}",
            got=f"low = {self.low}",
            hint="raise it, or leave :log out",
        )

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that a run must accept: both ends of a range, every choice."""
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """The dimension as JSON data."""
        return {**dataclasses.asdict(self), "choices": list(self.choices)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Dimension":
        """The dimension that `to_json` wrote."""
        return cls(**{**data, "choices": tuple(data["choices"])})

    def __str__(self) -> str:
        if self.choices:
            return f"{self.field}={','.join(map(str, self.choices))}"
        low, high = self.ends
        return f"{self.field}={low}:{high}{':log' if self.log else ''}"


def field_types() -> dict[str, Any]:
    """Field of a run, those of its records included -> its type."""
    found: dict[str, Any] = {}
    for record in (*RECORDS.values(), RunConfig):
        hints = typing.get_type_hints(record)
        found |= {item.name: hints[item.name] for item in dataclasses.fields(record) if item.name not in RECORDS}
    return found


def parse_dimension(text: str, kinds: Mapping[str, Any]) -> Dimension:
    """The dimension that `text` spells.

    Args:
        text: as in `SPELLING`.
        kinds: field -> its type; `field_types()` for the fields of a run.

    Raises:
        ConfigError: another spelling, an unknown field, a value of another type, an empty range.
    """
    field, equals, values = text.partition("=")
    field = field.strip().replace("-", "_")
    require(bool(equals and values), expected=SPELLING, got=repr(text), hint="for instance weight_lr=1e-3:1e-1:log")
    known = sorted(set(kinds) - FIXED)
    if field not in known:
        raise ConfigError(f"a field that can be searched, among {', '.join(known)}", repr(field), "check the spelling")
    kind, optional = _plain_type(kinds[field])
    require(
        kind in (bool, int, float, str),
        expected="a field with one value",
        got=f"{field}, which has several",
        hint="search another field",
    )
    if kind in (int, float) and ":" in values:
        return _range(field, values, kind)
    choices = tuple(_value(field, each.strip(), kind, optional) for each in values.split(","))
    return Dimension(field=field, choices=choices)


def read_space(path: Path, kinds: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The dimensions of a space file: JSON, an object of FIELD -> "low:high[:log]", or a list of choices.

    Raises:
        ConfigError: no such file, no such JSON, or as for `parse_dimension`.
    """
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"a space file of JSON at {path}", str(error), "write an object of FIELD: RANGE") from error
    require(
        isinstance(data, dict) and bool(data),
        expected=f"an object of FIELD: RANGE in {path}",
        got=type(data).__name__,
        hint='for instance {"weight_lr": "1e-3:1e-1:log", "batch_size": [16, 32]}',
    )
    texts = [
        f"{field}={','.join(map(str, value)) if isinstance(value, list) else value}" for field, value in data.items()
    ]
    return parse_space(texts, kinds)


def parse_space(texts: Sequence[str], kinds: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The dimensions that `texts` spell.

    Raises:
        ConfigError: none, a field twice, or as for `parse_dimension`.
    """
    found = tuple(parse_dimension(text, kinds) for text in texts)
    names = [each.field for each in found]
    require(bool(found), expected="at least one searched field", got="none", hint=f"give --search {SPELLING}")
    require(
        len(set(names)) == len(names),
        expected="each searched field once",
        got=", ".join(sorted({name for name in names if names.count(name) > 1})),
        hint="join its values into one --search",
    )
    return found


def with_settings(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`base` with other values of some fields; a name that two records have goes to both.

    Raises:
        ConfigError: a value, or a combination of values, that a run refuses.
    """
    changed: dict[str, Any] = {}
    for name, record in RECORDS.items():
        own = {item.name for item in dataclasses.fields(record)}
        inside = {key: value for key, value in values.items() if key in own}
        if inside:
            changed[name] = dataclasses.replace(getattr(base, name), **inside)
    fields = {item.name for item in dataclasses.fields(RunConfig)}
    return dataclasses.replace(base, **changed, **{key: value for key, value in values.items() if key in fields})


def check_dimensions(base: RunConfig, dimensions: Sequence[Dimension]) -> None:
    """Refuse values that no run accepts, before a study begins: both ends of each range, each choice.

    Raises:
        ConfigError: as the run says it. Combinations of several fields are left to the trials.
    """
    for dimension in dimensions:
        for value in dimension.ends:
            with_settings(base, {dimension.field: value})


def _plain_type(hint: Any) -> tuple[Any, bool]:
    """Type of a field without None, and whether None is one of its values."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(each for each in typing.get_args(hint) if each is not type(None)), True
    return hint, False


def _range(field: str, values: str, kind: type) -> Dimension:
    parts = values.split(":")
    require(
        len(parts) == 2 or (len(parts) == 3 and parts[2] == "log"),
        expected=f"{field}=low:high or {field}=low:high:log",
        got=repr(values),
        hint="correct it",
    )
    low, high = (_value(field, part.strip(), kind, optional=False) for part in parts[:2])
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return Dimension(field=field, low=float(low), high=float(high), log=len(parts) == 3, whole=kind is int)


def _value(field: str, text: str, kind: type, optional: bool) -> Value:
    if optional and text == "None":
        return None
    if kind is bool:
        require(text in ("True", "False"), expected=f"True or False for {field}", got=repr(text), hint="correct it")
        return text == "True"
    try:
        value: Value = kind(text)
    except ValueError as error:
        raise ConfigError(f"values of {field} of type {kind.__name__}", repr(text), f"write {SPELLING}") from error
    return value
