"""`Table`: measured accuracies of every genotype of a space, read from a file that the user has.

Covers NAS-Bench-201 as CSV with a column `ops` of six digits (0 none, 1 skip, 2 conv 1x1, 3 conv 3x3, 4 average
pool; edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2) and any number of accuracy columns. The lab ships no table.
"""

import bisect
import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from lab.base import ConfigError, DataError
from lab.space.genotype import Genotype
from lab.space.space import NB201, Space

TABLE_FILES: Mapping[str, str] = {NB201.name: "nas_bench_201.csv"}


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
                "a CSV table with a column ops of six digits and accuracy columns",
                f"{path} ({error})",
                "check the file",
            ) from error

    @classmethod
    def _read(cls, handle: TextIO) -> "Table":
        reader = csv.DictReader(handle)
        columns = [name for name in reader.fieldnames or () if name not in ("index", "ops")]
        values: dict[str, dict[tuple[int, ...], float]] = {column: {} for column in columns}
        for row in reader:
            key = tuple(int(digit) for digit in row["ops"])
            for column in columns:
                values[column][key] = float(row[column])
        if not columns or any(len(cells) != NB201.size for cells in values.values()):
            raise ValueError(f"{NB201.size} different cells were expected")
        return cls(NB201, values)

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
    """The table of `space` in the folder that the environment variable LAB_NAS_TABLES names; None where it is unset.

    Raises:
        DataError: the variable is set and the file is missing or of another form.
    """
    folder = os.environ.get("LAB_NAS_TABLES")
    if not folder or space.name not in TABLE_FILES:
        return None
    return Table.load(Path(folder) / TABLE_FILES[space.name])
