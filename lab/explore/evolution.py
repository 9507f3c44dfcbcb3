"""`ScoreSearch`: regularised evolution over the scores of untrained networks.

Source: Cavagnero et al. 2023, "FreeREA: Training-Free Evolution-Based Architecture Search", algorithm 1, with the
settings of the authors' own function: population 25, tournament 5, one mutation of each of the two best and one
crossover in a step, the oldest leaves. Regularised evolution: Real et al. 2019, section 3.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from lab.base import ConfigError, derive_seed, require, require_range
from lab.explore.prior import Prior, ScoredCell
from lab.space import Genotype, Space, mutate, sample

DRAWS = 10_000
"""Draws without one that is allowed after which a limit counts as one that no network keeps."""
PATIENCE = 100
"""Steps without a cell that was not seen before after which a space counts as searched."""

Measure = Callable[[Genotype], Mapping[str, float]]
"""Genotype -> its scores by name, higher is better."""


@dataclass(frozen=True, kw_only=True)
class EvolutionConfig:
    """The recipe; its defaults are the published ones."""

    population: int = 25
    """Cells that live at a time, >= 2."""
    tournament: int = 5
    """Cells drawn from the population, the two best of which have children, 2 to population."""

    def __post_init__(self) -> None:
        require_range("population", self.population, 2)
        require_range("tournament", self.tournament, 2, self.population)


class ScoreSearch:
    """A search over scores that goes on bit-equal where its state was taken.

    A cell's total is the sum over the scores of value / largest absolute value seen; minus infinity where one of its
    values is not finite. A search is a function of space, scores, seed and the number of its steps; nothing reads a
    clock.

    Args:
        space: to search.
        measure: called once for each cell.
        config: the recipe.
        seed: of the search's own draws.
        allowed: whether a cell keeps the limits that are set, such as one of FLOPs; cells that do not are not measured.
    """

    def __init__(
        self,
        space: Space,
        measure: Measure,
        config: EvolutionConfig | None = None,
        *,
        seed: int = 0,
        allowed: Callable[[Genotype], bool] = lambda genotype: True,
    ) -> None:
        self.space = space
        self.config = config or EvolutionConfig()
        self.values: dict[Genotype, dict[str, float]] = {}
        """Every cell that was measured, in order, with its scores."""
        self.generations: dict[Genotype, int] = {}
        """The population: cell -> the step of its birth."""
        self.steps = 0
        """Steps that were made."""
        self.idle = 0
        """Steps since the last cell that was not seen before."""
        self._measure = measure
        self._allowed = allowed
        self._random = Random(derive_seed(seed, "score search"))

    @property
    def evaluations(self) -> int:
        """Cells that were measured."""
        return len(self.values)

    @property
    def exhausted(self) -> bool:
        """Whether the space holds nothing more that the search would find."""
        return self.evaluations >= self.space.size or self.idle >= PATIENCE

    def run(self, evaluations: int, on_cell: Callable[[int], None] | None = None) -> Prior:
        """Go on until `evaluations` cells are measured or the space is searched; what the scores then say.

        Args:
            evaluations: >= 1; a step may measure up to two more.
            on_cell: called with the number of measured cells after each step.

        Raises:
            ConfigError: a number below 1, or limits that no network keeps.
        """
        require_range("evaluations", evaluations, 1)
        while self.evaluations < evaluations and not self.exhausted:
            self.step()
            if on_cell is not None:
                on_cell(self.evaluations)
        return self.prior()

    def step(self) -> None:
        """One more cell of the first population; once it is whole, three children and the end of the oldest.

        Raises:
            ConfigError: limits that no network keeps.
        """
        before = self.evaluations
        if self.steps == 0 and len(self.generations) < min(self.config.population, self.space.size):
            self._found()
        else:
            self.steps += 1
            self._breed()
        self.idle = 0 if self.evaluations > before else self.idle + 1

    def _found(self) -> None:
        for _ in range(DRAWS):
            genotype = sample(self.space, self._random)
            if genotype not in self.generations and self._allowed(genotype):
                self._add(genotype)
                return
        if len(self.generations) < 2:
            raise ConfigError(
                f"networks of {self.space.name} that keep the limits", f"none in {DRAWS} draws", "raise the limits"
            )
        self.steps = 1

    def _breed(self) -> None:
        totals = self.totals()
        drawn = self._random.sample(list(self.generations), min(self.config.tournament, len(self.generations)))
        # The sort is stable, so that ties go to the one that was drawn first.
        one, two = sorted(drawn, key=lambda genotype: -totals[genotype])[:2]
        for child in (self._mutated(one), self._mutated(two), self._crossed(one, two)):
            if self._allowed(child):
                self._add(child)
        most = self.config.population
        if len(self.generations) > most:
            del self.generations[min(self.generations, key=self.generations.__getitem__)]
        if len(self.generations) > most:
            totals = self.totals()
            for genotype in sorted(self.generations, key=lambda genotype: totals[genotype])[:-most]:
                del self.generations[genotype]

    def _mutated(self, genotype: Genotype) -> Genotype:
        return mutate(genotype, 1 / len(genotype.rows), "random", self._random)

    def _crossed(self, one: Genotype, two: Genotype) -> Genotype:
        """Each edge from either parent; where a node takes some of its edges, all of a node's from one."""
        rows = range(len(self.space.edges))
        groups = [(row,) for row in rows] if self.space.taken is None else self.space.groups
        primitives = list(one.primitives)
        for group in groups:
            if self._random.random() < 0.5:
                for row in group:
                    primitives[row] = two.primitives[row]
        return Genotype(self.space, tuple(primitives))

    def _add(self, genotype: Genotype) -> None:
        if genotype not in self.values:
            self.values[genotype] = {name: float(value) for name, value in self._measure(genotype).items()}
        self.generations[genotype] = self.steps

    def totals(self) -> dict[Genotype, float]:
        """Every measured cell and its total, by what was seen so far."""
        return totals(self.values)

    def prior(self) -> Prior:
        """What the scores say so far.

        Raises:
            ConfigError: nothing was measured yet.
        """
        require(bool(self.values), expected="a search that has run", got="no cell measured", hint="call run first")
        found = self.totals()
        cells = [ScoredCell(genotype=each, value=found[each], scores=self.values[each]) for each in self.values]
        return Prior.of(self.space, cells)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as JSON data, for `restore`."""
        version, words, gauss = self._random.getstate()
        cells = list(self.values)
        places = {genotype: place for place, genotype in enumerate(cells)}
        return {
            "space": self.space.name,
            "random": [version, list(words), gauss],
            "steps": self.steps,
            "idle": self.idle,
            "cells": [[list(genotype.indices), self.values[genotype]] for genotype in cells],
            "population": [[places[genotype], birth] for genotype, birth in self.generations.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state` was taken.

        Raises:
            ConfigError: the state is of another space, or of another form.
        """
        require(
            state.get("space") == self.space.name,
            expected=f"the state of a search of {self.space.name}",
            got=str(state.get("space")),
            hint="search the space of the saved state",
        )
        try:
            version, words, gauss = state["random"]
            cells = [Genotype.from_indices(self.space, indices) for indices, _ in state["cells"]]
            values = [dict(scores) for _, scores in state["cells"]]
            generations = {cells[place]: int(birth) for place, birth in state["population"]}
            self._random.setstate((version, tuple(words), gauss))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError("a state as ScoreSearch.state wrote it", str(error), "start the search anew") from error
        self.values = dict(zip(cells, values, strict=True))
        self.generations = generations
        self.steps, self.idle = int(state["steps"]), int(state["idle"])


def totals(values: Mapping[Genotype, Mapping[str, float]]) -> dict[Genotype, float]:
    """The total of every cell: sum over its scores of value / largest absolute value among all cells.

    Args:
        values: cell -> its scores by name, the same names for all.
    """
    scale = largest(values.values())
    return {genotype: total(scores, scale) for genotype, scores in values.items()}


def largest(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The largest finite absolute value of each score; 1 where there is none above 0."""
    found: dict[str, float] = {}
    for scores in values:
        for name, value in scores.items():
            found[name] = max(found.get(name, 0.0), abs(value) if math.isfinite(value) else 0.0)
    return {name: value or 1.0 for name, value in found.items()}


def total(scores: Mapping[str, float], scale: Mapping[str, float]) -> float:
    """Sum of the `scores`, each over its `scale`; minus infinity where one is not finite."""
    finite = all(math.isfinite(value) for value in scores.values())
    return sum(value / scale[name] for name, value in scores.items()) if finite else -math.inf
