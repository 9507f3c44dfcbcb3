"""`Prior`: what a search believes of a space before, or besides, a long training.

E edges, K primitives.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lab.base import ConfigError, require, require_range
from lab.space import ALL_SPACES, Genotype, Space


@dataclass(frozen=True, kw_only=True)
class ScoredCell:
    """A cell and what is believed of it."""

    genotype: Genotype
    value: float
    """By which cells are compared, higher is better; minus infinity where it cannot work."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What the value was made of, by name."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Cells by value, and what follows from them for single edges.

    With s_ek the largest value among the cells that have primitive k on edge e (the smallest s of all where no cell
    has it): preference z_ek = (s_ek - mean of s) / deviation of s. On each edge the best cell's primitive has the
    largest z, so that the argmax of alpha = z is the best cell. The probability of proposing k on e is
    softmax_k(z_ek / temperature).
    """

    space: Space
    cells: tuple[ScoredCell, ...]
    """Every cell that was compared, the best first."""

    @classmethod
    def of(cls, space: Space, cells: Iterable[ScoredCell]) -> "Prior":
        """The prior of `cells`, in any order; of equal values the first comes first.

        Raises:
            ConfigError: no cell, a cell of another space, or none with a finite value.
        """
        found = sorted(cells, key=lambda cell: -cell.value)
        require(bool(found), expected="cells with values", got="none", hint="measure some first")
        others = {cell.genotype.space.name for cell in found} - {space.name}
        require(not others, expected=f"cells of {space.name}", got=", ".join(others), hint="compare within one space")
        require(
            math.isfinite(found[0].value),
            expected="a cell with a finite value",
            got=found[0].value,
            hint="measure more cells, or another score",
        )
        return cls(space=space, cells=tuple(found))

    @property
    def genotype(self) -> Genotype:
        """The best cell."""
        return self.cells[0].genotype

    def value(self, genotype: Genotype) -> float | None:
        """What is believed of `genotype`; None where it was not compared."""
        return self._values.get(genotype)

    @cached_property
    def _values(self) -> dict[Genotype, float]:
        return {cell.genotype: cell.value for cell in self.cells}

    @cached_property
    def preferences(self) -> tuple[tuple[float, ...], ...]:
        """z, E rows of K columns; see the class."""
        best: dict[tuple[int, int], float] = {}
        for cell in self.cells:
            for row, column in enumerate(cell.genotype.indices):
                if column >= 0 and math.isfinite(cell.value):
                    best[row, column] = max(best.get((row, column), -math.inf), cell.value)
        lowest, mean = min(best.values()), statistics.fmean(best.values())
        # Where all are equal nothing is preferred.
        deviation = statistics.pstdev(best.values()) or 1.0
        rows, columns = range(len(self.space.edges)), range(len(self.space.primitives))
        return tuple(tuple((best.get((e, k), lowest) - mean) / deviation for k in columns) for e in rows)

    def alpha(self, scale: float = 1.0) -> Tensor:
        """Start of architecture parameters (E, K), float32: `scale` times the preferences.

        Args:
            scale: > 0; at temperature tau a cell is drawn by softmax(scale z / tau).

        Raises:
            ConfigError: a scale that is not above 0.
        """
        require_range("scale", scale, 0.0, open_low=True)
        return scale * torch.tensor(self.preferences)

    def probabilities(self, temperature: float = 1.0) -> tuple[tuple[float, ...], ...]:
        """How likely each primitive is to be proposed on each edge, E rows of K columns that sum to 1.

        What `lab.space.mutate` takes for guided mutations.

        Args:
            temperature: > 0; the lower, the more the best cells decide.

        Raises:
            ConfigError: a temperature that is not above 0.
        """
        require_range("temperature", temperature, 0.0, open_low=True)
        table = torch.tensor(self.preferences, dtype=torch.float64) / temperature
        return tuple(tuple(row) for row in table.softmax(-1).tolist())

    def to_json(self) -> dict[str, Any]:
        """The prior as JSON data: space, and of each cell its `indices`, value and scores."""
        cells = [[list(cell.genotype.indices), cell.value, dict(cell.scores)] for cell in self.cells]
        return {"space": self.space.name, "cells": cells}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Prior":
        """The prior that `to_json` wrote.

        Raises:
            ConfigError: another form, or an unknown space.
        """
        try:
            space = ALL_SPACES[data["space"]]
            cells = [
                ScoredCell(genotype=Genotype.from_indices(space, indices), value=float(value), scores=dict(scores))
                for indices, value, scores in data["cells"]
            ]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError("a prior as written by to_json", f"{error!r:.80}", "check the file") from error
        return cls.of(space, cells)
