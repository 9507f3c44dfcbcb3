"""`Table`: measured accuracies of every genotype of a space, read from a file that the user has.

A table is a CSV with a column `ops`, one digit for each edge in the order of `space.edges` (0 none, 1 skip, 2 conv 1x1,
3 conv 3x3, 4 average pool), and any number of accuracy columns. Six digits are NAS-Bench-201's cells, whose table the
lab does not ship; three digits are the 125 cells of `NB125`, whose table `lab bench table` measured.
"""

import bisect
import csv
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from lab.base import ConfigError, DataError
from lab.space.genotype import Genotype
from lab.space.space import NB125, NB201, Space

TABLE_FILES: Mapping[str, str] = MappingProxyType({NB201.name: "nas_bench_201.csv", NB125.name: "nb125_digits.csv"})
"""Name of a space -> its table's file in the folder of LAB_NAS_TABLES."""
SHIPPED = Path(__file__).parents[2] / "data"
"""The project's own data folder: tables that the lab measured itself."""


class Table:
    """Accuracies in percent of all genotypes of one space, with true ranks."""

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
                return cls._read(handle)
        except (ValueError, KeyError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                "a CSV table with a column ops of three or six digits and accuracy columns",
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

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the accuracy columns: the data set and the protocol that each is about."""
        return tuple(self._values)

    def query(self, genotype: Genotype, column: str) -> float:
        """Accuracy of `genotype` in percent."""
        if genotype.space != self.space or column not in self._values:
            raise ConfigError(
                f"a genotype of {self.space.name} and a column of {', '.join(self.columns)}",
                f"{genotype.space.name}, {column!r}",
                "ask for one of these",
            )
        return self._values[column][genotype.indices]

    def rank(self, genotype: Genotype, column: str) -> int:
        """True rank, 1 the best; genotypes with equal accuracy share the best rank among them."""
        accuracy = self.query(genotype, column)
        ordered = self._sorted[column]
        return len(ordered) - bisect.bisect_right(ordered, accuracy) + 1


def find_table(space: Space) -> Table | None:
    """The table of `space`: in the folder that LAB_NAS_TABLES names, else among the project's own; None without one.

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
