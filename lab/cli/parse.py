"""The words of a command line as the record of their command, help pages, and what is told of a wrong word."""

import argparse
import dataclasses
import sys
import typing
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lab.base import ConfigError
from lab.cli.options import REQUIRED, Option, clean, flags_of, groups_of
from lab.cli.suggest import nearest

Record = TypeVar("Record")
HELP = frozenset({"-h", "--help", "--help-all"})
"""Words that ask for the page of a command."""
METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


def parse(
    record: type[Record],
    arguments: Sequence[str],
    *,
    prog: str,
    examples: Sequence[str] = (),
    text: str = "",
    homes: Callable[[str], Sequence[str]] = lambda flag: (),
    common: Collection[str] = (),
) -> Record:
    """The record that `arguments` describe; --help writes the page and leaves.

    Args:
        record: the command; its docstring explains it.
        arguments: words of the command line, `--a_b` for `--a-b` too.
        prog: how the command is called.
        examples: lines for the end of its page.
        text: what stands at the top of its page in place of the docstring.
        homes: the other commands that a flag belongs to.
        common: fields that --help lists, where it leaves the others to --help-all; empty: it lists all.

    Raises:
        ConfigError: an unknown flag, a value of another type, or one that the record refuses.
        SystemExit: the page was asked for.
    """
    words = [_dashed(word) for word in arguments]
    # Before anything is refused: who asks for help may have a wrong flag on the line.
    if HELP & set(words):
        short = common if "--help-all" not in words else ()
        sys.stdout.write(_make_parser(record, prog, text, examples, short).format_help())
        raise SystemExit(0)
    parser = _make_parser(record, prog, text, examples)
    parser.page = "--help-all" if common else "--help"
    _refuse_unknown(words, flags_of(record), f"{prog} {parser.page}", homes)
    given = vars(parser.parse_args(words))
    return _build(record, given)


def _refuse_unknown(
    words: Sequence[str], known: frozenset[str], page: str, homes: Callable[[str], Sequence[str]]
) -> None:
    flags = [word.split("=")[0] for word in words if word.startswith("--") and word != "--"]
    unknown = list(dict.fromkeys(flag for flag in flags if flag not in known))
    if not unknown:
        return
    hints = []
    for flag in unknown:
        near = nearest(flag, known)
        if homes(flag):
            hints.append(f"{flag} belongs to: {', '.join(homes(flag))}")
        elif near:
            hints.append(f"did you mean {near}?")
    raise ConfigError(
        f"options of {page.rpartition(' ')[0]}", ", ".join(unknown), "; ".join(hints) or f"{page} lists them"
    )


class _Parser(argparse.ArgumentParser):
    page = "--help"
    """The flag that explains every option."""

    def error(self, message: str) -> NoReturn:
        """One of our errors in place of argparse's own exit."""
        raise ConfigError(f"options as {self.prog} {self.page} explains them", message, "correct it")


class _Page(argparse.HelpFormatter):
    """Paragraphs are wrapped; a line that begins with a space stays as it is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = []
        for part in text.split("\n\n"):
            lines = part.split("\n")
            raw = any(line.startswith(" ") for line in lines)
            parts.append(part if raw else super()._fill_text(part, width, indent))
        return "\n\n".join(parts)


def _make_parser(record: type, prog: str, text: str, examples: Sequence[str], common: Collection[str] = ()) -> _Parser:
    """The parser of a command; with `common` its short page, which has no other options."""
    groups = groups_of(record)
    every = sum(len(group.options) for group in groups)
    positional = [option for group in groups for option in group.options if option.positional]
    usage = "".join(
        f" {option.field.upper()}" if option.default is REQUIRED else f" [{option.field.upper()}]"
        for option in positional
    )
    parser = _Parser(
        prog=prog,
        usage=f"{prog}{usage} [options]",
        description=clean(text or record.__doc__ or ""),
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None,
        formatter_class=_Page,
        allow_abbrev=False,
        # Only what was given comes back: defaults are those of the record.
        argument_default=argparse.SUPPRESS,
        add_help=False,
    )
    for number, group in enumerate(groups):
        shown = [option for option in group.options if not common or option.positional or option.field in common]
        if shown:
            place = parser.add_argument_group(group.title, None if common else group.text)
        for option in shown:
            _add(place, option)
        if number == 0:
            place.add_argument("-h", "--help", action="help", help="Show this page.")
            if common:
                place.add_argument("--help-all", action="help", help=f"Show all {every} options.")
    return parser


def _add(place: Any, option: Option) -> None:
    """Teach argparse one option."""
    # argparse fills its help texts in by the % operator.
    text = option.help.replace("%", "%%")
    if option.kind is bool:
        place.add_argument(option.flag, action=argparse.BooleanOptionalAction, help=text, default=argparse.SUPPRESS)
        return
    how: dict[str, Any] = {"type": _converter(option), "help": text, "metavar": METAVARS[option.kind]}
    if option.positional:
        how["metavar"] = option.field.upper()
        place.add_argument(option.field, nargs=None if option.default is REQUIRED else "?", **how)
        return
    place.add_argument(option.flag, nargs="*" if option.many else None, required=option.default is REQUIRED, **how)


def _converter(option: Option) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        return None if option.optional and text == "None" else option.kind(text)

    # The name is what argparse says of a value that does not fit.
    convert.__name__ = METAVARS[option.kind]
    return convert


def _build(record: type[Record], given: dict[str, Any]) -> Record:
    hints = typing.get_type_hints(record)
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(record):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(hints[item.name]):
            fields[item.name] = _build(hints[item.name], given)
        elif item.name in given:
            value = given[item.name]
            fields[item.name] = tuple(value) if isinstance(value, list) else value
    return record(**fields)


def _dashed(word: str) -> str:
    """`--a_b=c_d` as `--a-b=c_d`."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word
