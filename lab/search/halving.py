"""Successive halving by short trainings: which cells are trained, for how long, and what that says with the prior.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", for
halving; each rung costs the same. Every rung trains afresh under a whole cycle of the rate, each cell with two seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.explore import Combination, combine
from lab.space import Genotype

RUNG_EPOCHS = (4, 8, 16)
"""Epochs of a training in each rung."""
SEEDS = 2
"""Trainings of each cell in each rung."""
LEAST_SHORTLIST = 8
"""Cells of the first rung below which no evidence is gathered: repeatability could not be told."""
MOST_SHORTLIST = 32
LIKED = 0.5
"""Share of the shortlist that the prior likes best; the others come from further down."""
RESERVE = 0.15
"""Share of what is left of the budget that is not planned: cells differ in cost, and readings cost as well."""


@dataclass(frozen=True, kw_only=True)
class EvidencePlan:
    """How many cells begin, or why none does."""

    shortlist: int
    """Cells of the first rung; 0 for no evidence."""
    reason: str

    def rungs(self) -> tuple[tuple[int, int], ...]:
        """(cells, epochs of each training) of every rung."""
        if not self.shortlist:
            return ()
        return tuple((max(self.shortlist >> rung, 2), epochs) for rung, epochs in enumerate(RUNG_EPOCHS))


def plan_evidence(seconds: float, epoch_seconds: float, cells: int) -> EvidencePlan:
    """The largest shortlist that `seconds` of CPU pay for.

    Args:
        seconds: left of the budget.
        epoch_seconds: of one epoch of training.
        cells: that could be trained.
    """
    epochs = max(seconds, 0.0) * (1 - RESERVE) / epoch_seconds
    each_rung = epochs / (len(RUNG_EPOCHS) * SEEDS)
    count = min(MOST_SHORTLIST, cells, int(each_rung / RUNG_EPOCHS[0]))
    said = f"{seconds:.0f} CPU s left pay for {epochs:.0f} epochs of {epoch_seconds:.2f} s"
    if count < LEAST_SHORTLIST:
        needed = LEAST_SHORTLIST * RUNG_EPOCHS[0] * len(RUNG_EPOCHS) * SEEDS
        return EvidencePlan(shortlist=0, reason=f"{said}; {needed} are needed: no training, the prior decides")
    # Halves of halves are whole where 4 divides the count.
    return EvidencePlan(shortlist=count // 4 * 4, reason=said)


def shortlist(ranked: Sequence[Genotype], count: int) -> list[Genotype]:
    """`count` cells: the share `LIKED` of them the first of `ranked`, the others further down, ever further apart.

    Args:
        ranked: by the prior, the best first.
        count: cells to take, at most all of them.
    """
    liked = math.ceil(LIKED * count)
    others = count - liked
    rest = len(ranked) - liked
    places = [int((rest - 1) * ((number + 1) / others) ** 2) for number in range(others)]
    for number in range(1, others):
        # Squares of small shares fall on one place.
        places[number] = max(places[number], places[number - 1] + 1)
    return [*ranked[:liked], *(ranked[liked + min(place, rest - others + n)] for n, place in enumerate(places))]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One rung: what was compared and what came of it."""

    epochs: int
    cells: tuple[Genotype, ...]
    losses: tuple[tuple[float, float], ...]
    """Losses on the selection split with either seed, one pair for each cell."""
    combination: Combination

    def ranked(self) -> list[Genotype]:
        """The cells, the best first; ties go to the earlier one."""
        order = sorted(range(len(self.cells)), key=lambda place: -self.combination.values[place])
        return [self.cells[place] for place in order]

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        facts = self.combination
        return {
            "epochs": self.epochs,
            "cells": [list(cell.indices) for cell in self.cells],
            "losses": [list(pair) for pair in self.losses],
            "values": list(facts.values),
            "prior_reliability": facts.prior_reliability,
            "evidence_reliability": facts.evidence_reliability,
            "correlation": facts.correlation,
            "prior_weight": facts.prior_weight,
            "evidence_weight": facts.evidence_weight,
        }


def judge(
    cells: Sequence[Genotype],
    epochs: int,
    losses: Mapping[Genotype, tuple[float, float]],
    prior: Mapping[Genotype, tuple[float, float]] | None,
) -> Rung:
    """What a rung says: -ln loss with two seeds beside the prior with two readings.

    Args:
        cells: of the rung.
        epochs: of each training.
        losses: > 0, with two seeds.
        prior: two readings of each cell, higher is better; None: evidence alone.
    """
    evidence = tuple([-math.log(losses[cell][seed]) for cell in cells] for seed in range(SEEDS))
    known = dict.fromkeys(cells, (0.0, 0.0)) if prior is None else prior
    readings = tuple([known[cell][number] for cell in cells] for number in range(2))
    found = combine((readings[0], readings[1]), (evidence[0], evidence[1]))
    if prior is None:
        # Without a prior there is nothing to weigh against: the mean of both seeds decides.
        alone = tuple(one + two for one, two in zip(*evidence, strict=True))
        found = Combination(
            values=alone,
            prior_reliability=0.0,
            evidence_reliability=found.evidence_reliability,
            correlation=0.0,
            prior_weight=0.0,
            evidence_weight=1.0,
        )
    return Rung(epochs=epochs, cells=tuple(cells), losses=tuple(losses[cell] for cell in cells), combination=found)
