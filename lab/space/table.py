"""`Table`: what was measured of every genotype of a space, read from a file that the user has.

A CSV has a column `ops`, one digit for each edge in the order of `space.edges` (0 none, 1 skip, 2 conv 1x1,
3 conv 3x3, 4 average pool), and any number of accuracy columns. Six digits are NAS-Bench-201's cells, whose table the
lab does not ship; three digits are the 125 cells of `NB125`, whose table `lab experiment table` measured.
A JSON is NAS-Bench-Macro's, as it is published: eight digits (0 identity, 1 expansion 3, 2 expansion 6) -> three
accuracies, parameters, FLOPs. Its columns here are `mean`, `seed0`, `seed1`, `seed2`, `params`, `flops`.
"""

import bisect
import csv
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from lab.base import ConfigError, DataError, resource
from lab.space.genotype import Genotype
from lab.space.space import MACRO, NB125, NB201, Space

TABLE_FILES: Mapping[str, str] = MappingProxyType(
    {NB201.name: "nas_bench_201.csv", NB125.name: "nb125_digits.csv", MACRO.name: "nas_bench_macro_cifar10.json"}
)
"""Name of a space -> its table's file in the folder of LAB_NAS_TABLES."""
MACRO_SEEDS = 3
"""Trainings of each network in NAS-Bench-Macro's table."""
SHIPPED = resource("data")
"""The folder of tables that the lab measured itself."""


class Table:
    """Accuracies in percent of all genotypes of one space, with true ranks; for `MACRO` their sizes too.

    Args:
        space: whose genotypes these are.
        values: by column, then by a genotype's `indices`.
    """

    def __init__(self, space: Space, values: Mapping[str, Mapping[tuple[int, ...], float]]) -> None:
        self.space = space
        self._values = values
        self._sorted = {column: sorted(cells.values()) for column, cells in values.items()}

    @classmethod
    def load(cls, path: str | Path) -> "Table":
        """Read a table.

        Raises:
            DataError: no such file, or another form.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError("a table file", f"nothing at {path}", "point LAB_NAS_TABLES at the folder that holds it")
        try:
            with path.open(newline="", encoding="utf-8") as handle:
                return cls._read_json(handle) if path.suffix == ".json" else cls._read(handle)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, csv.Error) as error:
            raise DataError(
                "a CSV table with a column ops of three or six digits and accuracy columns, or NAS-Bench-Macro's JSON",
                f"{path} ({error})",
                "check the file",
            ) from error

    @classmethod
    def _read(cls, handle: TextIO) -> "Table":
        reader = csv.DictReader(handle, strict=True)
        names = list(reader.fieldnames or ())
        columns = [name for name in names if name not in ("index", "ops")]
        if len(set(names)) < len(names):
            raise ValueError(f"line 1: two columns of one name among {', '.join(names)}")
        values: dict[str, dict[tuple[int, ...], float]] = {column: {} for column in columns}
        space: Space | None = None
        for row in reader:
            key = _cell(row["ops"], reader.line_num)
            if space is None:
                space = NB125 if len(key) == len(NB125.edges) else NB201
            if len(key) != len(space.edges) or max(key) >= len(space.primitives):
                raise ValueError(f"line {reader.line_num}: {row['ops']} is no cell of {space.name}")
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num}: {len(names)} fields were expected")
            for column in columns:
                if key in values[column]:
                    raise ValueError(f"line {reader.line_num}: {row['ops']} a second time")
                values[column][key] = _percent(row[column], f"line {reader.line_num}: {column}")
        if space is None or not columns or any(len(cells) != space.size for cells in values.values()):
            raise ValueError(f"{(space or NB201).size} different cells were expected")
        return cls(space, values)

    @classmethod
    def _read_json(cls, handle: TextIO) -> "Table":
        values: dict[str, dict[tuple[int, ...], float]] = {}
        for number, (digits, row) in enumerate(json.load(handle, object_pairs_hook=_once).items(), 1):
            key = _cell(digits, number)
            accuracies = [_percent(str(accuracy), f"{digits}: test_acc") for accuracy in row["test_acc"]]
            if len(key) != len(MACRO.edges) or max(key) >= len(MACRO.primitives) or len(accuracies) != MACRO_SEEDS:
                raise ValueError(f"{digits} is no network with {MACRO_SEEDS} accuracies")
            found = {"mean": sum(accuracies) / len(accuracies)}
            found |= {f"seed{number}": accuracy for number, accuracy in enumerate(accuracies)}
            found |= {name: _size(row[name], f"{digits}: {name}") for name in ("params", "flops")}
            for column, value in found.items():
                values.setdefault(column, {})[key] = value
        if len(values.get("mean", {})) != MACRO.size:
            raise ValueError(f"{MACRO.size} different networks were expected")
        return cls(MACRO, values)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: the data set and the protocol that each is about, or the size that it holds."""
        return tuple(self._values)

    def query(self, genotype: Genotype, column: str) -> float:
        """What `column` holds for `genotype`: accuracy in percent, or the number of parameters or FLOPs.

        Args:
            genotype: of the table's space.
            column: one of `columns`.

        Raises:
            ConfigError: a genotype of another space, or an unknown column.
        """
        if genotype.space != self.space or column not in self._values:
            raise ConfigError(
                f"a genotype of {self.space.name} and a column of {', '.join(self.columns)}",
                f"{genotype.space.name}, {column!r}",
                "choose one of these",
            )
        return self._values[column][genotype.indices]

    def rank(self, genotype: Genotype, column: str) -> int:
        """True rank, 1 the highest value; genotypes with equal values share the best rank among them.

        Args:
            genotype: of the table's space.
            column: one of `columns`.

        Raises:
            ConfigError: as `query` does.
        """
        accuracy = self.query(genotype, column)
        ordered = self._sorted[column]
        return len(ordered) - bisect.bisect_right(ordered, accuracy) + 1


def _cell(digits: str, line: int) -> tuple[int, ...]:
    """The digits of a cell, one for each edge."""
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"line {line}: {digits!r} is no row of digits")
    return tuple(int(digit) for digit in digits)


def _percent(value: str, where: str) -> float:
    """An accuracy in percent."""
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError(f"{where} is no number: {value[:40]!r}") from error
    if not 0.0 <= number <= 100.0:
        raise ValueError(f"{where} is {number}, 0 to 100 expected")
    return number


def _size(value: float, where: str) -> float:
    """A count, finite and above 0."""
    number = float(value)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{where} is {value}, a number above 0 expected")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, each of whose names stands once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name a second time among {', '.join([name for name, _ in pairs][:5])}, ...")
    return found


def find_table(space: Space) -> Table | None:
    """The table of `space`: in the folder that LAB_NAS_TABLES names, else among the project's own; None without one.

    Args:
        space: any space.

    Raises:
        DataError: the variable is set and the file is in neither place, or a file has another form.
    """
    if space.name not in TABLE_FILES:
        return None
    name = TABLE_FILES[space.name]
    folder = os.environ.get("LAB_NAS_TABLES")
    shipped = SHIPPED / name
    if folder and ((Path(folder) / name).is_file() or not shipped.is_file()):
        return _load_for(space, Path(folder) / name)
    return _load_for(space, shipped) if shipped.is_file() else None


def _load_for(space: Space, path: Path) -> Table:
    table = Table.load(path)
    if table.space != space:
        raise DataError(f"a table of space {space.name}", f"one of {table.space.name} in {path}", "check the file")
    return table
