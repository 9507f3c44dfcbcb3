"""A command's frozen dataclass as options: names, types, texts and groups.

A field becomes `--its-name`: its docstring is the help, its annotation the type (str, int, float, bool, Path; one of
them or None; a tuple of them). A field that is a dataclass itself gives a group of options. Help pages are made of
this, so nothing here imports torch, and no record may that is a command or inside one.
"""

import ast
import dataclasses
import functools
import sys
import types
import typing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

POSITIONAL = "positional"
"""Key in the metadata of a field that is given without its name."""
REQUIRED = dataclasses.MISSING


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a command."""

    field: str
    kind: type
    """Type of its value, or of each of its values."""
    optional: bool
    """Whether `None` is a value."""
    many: bool
    """Whether it takes any number of values."""
    positional: bool
    default: Any
    """`REQUIRED` where there is none."""
    text: str
    """What it does."""

    @property
    def flag(self) -> str:
        """As it is written: --its-name."""
        return f"--{self.field.replace('_', '-')}"

    @property
    def help(self) -> str:
        """What it does, and what holds without it."""
        if self.default in (REQUIRED, None, "", ()) or self.default is False:
            return self.text
        default = " ".join(map(str, self.default)) if self.many else str(self.default)
        return f"{self.text} (default: {default})"


@dataclass(frozen=True, kw_only=True)
class OptionGroup:
    """Options that belong together."""

    title: str
    text: str
    options: tuple[Option, ...]


def groups_of(record: type) -> tuple[OptionGroup, ...]:
    """The options of a command: first its own, then each dataclass inside it as a group."""
    own, found = [], []
    hints, docs = typing.get_type_hints(record), field_docs(record)
    for item in dataclasses.fields(record):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            inner = tuple(option for group in groups_of(hint) for option in group.options)
            found.append(OptionGroup(title=item.name, text=_sentence(hint.__doc__ or ""), options=inner))
            continue
        kind, optional, many = _type_of(hint)
        own.append(
            Option(
                field=item.name,
                kind=kind,
                optional=optional,
                many=many,
                positional=bool(item.metadata.get(POSITIONAL)),
                default=item.default,
                text=docs.get(item.name, ""),
            )
        )
    return (OptionGroup(title="options", text="", options=tuple(own)), *found) if own else tuple(found)


def flags_of(record: type) -> frozenset[str]:
    """Every flag that a command takes, the --no- forms included."""
    options = [option for group in groups_of(record) for option in group.options if not option.positional]
    return frozenset(option.flag for option in options) | {
        f"--no-{option.flag[2:]}" for option in options if option.kind is bool
    }


def _type_of(hint: Any) -> tuple[type, bool, bool]:
    """Type of a value, whether None is one, whether there may be several."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(each for each in arguments if each is not type(None)), True, False
    if typing.get_origin(hint) is tuple:
        return arguments[0], False, True
    return hint, False, False


def field_docs(record: type) -> dict[str, str]:
    """Field -> the docstring below it, those of base classes included; Python keeps them in the source alone."""
    found: dict[str, str] = {}
    # From the base down: a field that is declared again keeps the base's text unless it has one.
    for each in reversed(record.__mro__):
        for one, two in pairwise(_body(each)):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(two, ast.Expr):
                found[one.target.id] = clean(ast.literal_eval(two.value)).replace("\n", " ")
    return found


def _body(record: type) -> list[ast.stmt]:
    if not dataclasses.is_dataclass(record):
        return []
    return next((node.body for node in _classes(record.__module__) if node.name == record.__name__), [])


@functools.cache
def _classes(module: str) -> tuple[ast.ClassDef, ...]:
    source = Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")
    return tuple(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))


def clean(text: str) -> str:
    """A docstring without the indent of its later lines."""
    return "\n".join(line.removeprefix("    ").rstrip() for line in text.strip().split("\n"))


def _sentence(text: str) -> str:
    return clean(text).split("\n\n")[0].replace("\n", " ")
