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
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

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
        except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                "a CSV table with a column ops of three or six digits and accuracy columns, or NAS-Bench-Macro's JSON",
                f"{path} ({error})",
                "check the file",
            ) from error

    @classmethod
    def _read(cls, handle: TextIO) -> "Table":
        reader = csv.DictReader(handle)
        columns = [name for name in reader.fieldnames or () if name not in ("index", "ops")]
        values: dict[str, dict[tuple[int, ...], float]] = {column: {} for column in columns}
        space = NB201
        for row in reader:
            key = tuple(int(digit) for digit in row["ops"])
            space = NB125 if len(key) == len(NB125.edges) else NB201
            if len(key) != len(space.edges) or max(key) >= len(space.primitives):
                raise ValueError(f"{row['ops']} is no cell")
            for column in columns:
                values[column][key] = float(row[column])
        if not columns or any(len(cells) != space.size for cells in values.values()):
            raise ValueError(f"{space.size} different cells were expected")
        return cls(space, values)

    @classmethod
    def _read_json(cls, handle: TextIO) -> "Table":
        values: dict[str, dict[tuple[int, ...], float]] = {}
        for digits, row in json.load(handle).items():
            key = tuple(int(digit) for digit in digits)
            accuracies = [float(accuracy) for accuracy in row["test_acc"]]
            if len(key) != len(MACRO.edges) or max(key) >= len(MACRO.primitives) or len(accuracies) != MACRO_SEEDS:
                raise ValueError(f"{digits} is no network with {MACRO_SEEDS} accuracies")
            found = {"mean": sum(accuracies) / len(accuracies)}
            found |= {f"seed{number}": accuracy for number, accuracy in enumerate(accuracies)}
            found |= {"params": float(row["params"]), "flops": float(row["flops"])}
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
