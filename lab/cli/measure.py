"""What `lab bench NAME` and `lab experiment NAME` have in common: the list of names, the options, the result's file."""

import dataclasses
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import ConfigError
from lab.cli.options import clean
from lab.cli.parse import parse
from lab.cli.suggest import unknown


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measurement as the command line offers it."""

    settings: type
    """Its options; the second paragraph of the docstring says what is measured."""
    module: str = ""
    """Module of the part with `run` and `summary`; empty for that of the measurement's name."""

    @property
    def text(self) -> str:
        """What is measured, in one sentence."""
        return clean(self.settings.__doc__ or "").split("\n\n")[1].replace("\n", " ")


@dataclass(frozen=True, kw_only=True)
class ResultFlags:
    """Where the result goes."""

    out: Path | None = None
    """Folder into which NAME.json is written."""
    json: bool = False
    """Print the result as JSON."""


def overview(command: str, table: Mapping[str, Measurement], notes: str) -> str:
    """What `lab COMMAND --help` prints."""
    width = max(map(len, table))
    rows = "\n".join(f"  {name.ljust(width)}  {each.text.removesuffix('.')}" for name, each in table.items())
    return (
        f"usage: lab {command} NAME [options] [--out FOLDER] [--json]\n\n"
        f"{rows}\n\n"
        f"{notes}\n"
        "--out writes NAME.json into FOLDER (the project's own results lie in docs/results).\n"
        f"lab {command} NAME --help explains the options of one.\n"
    )


def run_measurement(
    arguments: Sequence[str],
    *,
    command: str,
    part: str,
    table: Mapping[str, Measurement],
    notes: str,
    others: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run the measurement that the first word names; the exit code.

    Args:
        arguments: name and options.
        command: of `lab`.
        part: package with a module for each name.
        table: name -> measurement.
        notes: for the list of names.
        others: names that may be meant instead -> how each is spelled.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(overview(command, table, notes))
        return 0
    name = arguments[0]
    if name not in table:
        raise unknown(f"a name of lab {command}", name, table, f"lab {command} --help", others)
    prog = f"lab {command} {name}"
    examples = (f"{prog} --out docs/results", f"{prog} --json")
    options: Any = parse(_options(table[name]), arguments[1:], prog=prog, examples=examples)
    # Only here: it imports torch, which the help page above does without.
    module = importlib.import_module(f"{part}.{table[name].module or name}")
    result = module.run(options.settings)
    if options.result.out is not None:
        file = module.result_name(options.settings) if hasattr(module, "result_name") else name
        texts = {f"{file}.json": json.dumps(result, indent=2) + "\n"}
        if hasattr(module, "figure"):
            texts[f"{file}.svg"] = module.figure(result)
        _write(options.result.out, texts)
    text = json.dumps(result, indent=2) if options.result.json else str(module.summary(result))
    sys.stdout.write(text + "\n")
    return 0


def _options(measurement: Measurement) -> type:
    """The settings of a measurement and where its result goes, as one command."""
    parts: tuple[tuple[str, type], ...] = (("settings", measurement.settings), ("result", ResultFlags))
    fields = [(name, part, dataclasses.field(default_factory=part)) for name, part in parts]
    namespace = {"__doc__": measurement.text, "__module__": __name__}
    return dataclasses.make_dataclass("Options", fields, frozen=True, kw_only=True, namespace=namespace)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError("a folder that can be written", str(error), "give another --out") from error
