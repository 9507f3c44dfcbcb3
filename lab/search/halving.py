"""Successive halving by short trainings: which cells are trained, for how long, and what that says with the prior.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", for
halving. Every rung trains afresh under a whole cycle of the rate, each cell with two seeds.
Cells that share edges speak for one another, so that a cell which was not trained can come into the next rung.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.explore import Combination, combine
from lab.space import Genotype

RUNG_EPOCHS = (8, 16)
"""Epochs of a training in each rung."""
ETA = 4
"""The next rung has this part of the cells, for twice the epochs: what is told apart in the first rung counts most."""
SEEDS = 2
"""Trainings of each cell in each rung."""
LEAST_SHORTLIST = 8
"""Cells of the first rung below which no evidence is gathered: repeatability could not be told."""
MOST_SHORTLIST = 24
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
        return tuple((max(self.shortlist // ETA**rung, 2), epochs) for rung, epochs in enumerate(RUNG_EPOCHS))

    @property
    def epochs(self) -> int:
        """Epochs of training that the plan costs."""
        return SEEDS * sum(cells * epochs for cells, epochs in self.rungs())


def plan_evidence(seconds: float, epoch_seconds: float, cells: int) -> EvidencePlan:
    """The largest shortlist that `seconds` of CPU pay for.

    Args:
        seconds: left of the budget.
        epoch_seconds: of one epoch of training.
        cells: that could be trained.
    """
    affordable = max(seconds, 0.0) * (1 - RESERVE) / epoch_seconds
    said = f"{seconds:.0f} CPU s left pay for {affordable:.0f} epochs of {epoch_seconds:.2f} s"
    # Parts of parts are whole where ETA divides the count.
    for count in range(min(MOST_SHORTLIST, cells) // ETA * ETA, LEAST_SHORTLIST - 1, -ETA):
        plan = EvidencePlan(shortlist=count, reason=said)
        if plan.epochs <= affordable:
            return plan
    needed = EvidencePlan(shortlist=LEAST_SHORTLIST, reason="").epochs
    return EvidencePlan(shortlist=0, reason=f"{said}; {needed} are needed: no training, the prior decides")


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
    """The cells that were trained, then all others that are known."""
    losses: tuple[tuple[float, float], ...]
    """Losses on the selection split with either seed, one pair for each trained cell."""
    combination: Combination

    @property
    def trained(self) -> tuple[Genotype, ...]:
        """The cells that were trained."""
        return self.cells[: len(self.losses)]

    @property
    def values(self) -> dict[Genotype, float]:
        """What is believed of every cell."""
        return dict(zip(self.cells, self.combination.values, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """JSON data, of the trained cells."""
        facts = self.combination
        return {
            "epochs": self.epochs,
            "cells": [list(cell.indices) for cell in self.trained],
            "losses": [list(pair) for pair in self.losses],
            "values": list(facts.values[: len(self.losses)]),
            "prior_reliability": facts.prior_reliability,
            "evidence_reliability": facts.evidence_reliability,
            "correlation": facts.correlation,
            "prior_weight": facts.prior_weight,
            "evidence_weight": facts.evidence_weight,
        }


def judge(
    epochs: int,
    losses: Mapping[Genotype, tuple[float, float]],
    beliefs: Mapping[Genotype, tuple[float, float]] | None,
    known: Sequence[Genotype],
) -> Rung:
    """What a rung says: -ln loss with two seeds beside two readings of what was believed before.

    Args:
        epochs: of each training.
        losses: > 0, with two seeds, of the cells that were trained.
        beliefs: two readings of each known cell, higher is better; None: evidence alone.
        known: all cells.
    """
    cells = (*losses, *(cell for cell in known if cell not in losses))
    one, two = ([-math.log(pair[seed]) for pair in losses.values()] for seed in range(SEEDS))
    prior = None
    if beliefs is not None:
        prior = [beliefs[cell][0] for cell in cells], [beliefs[cell][1] for cell in cells]
    return Rung(
        epochs=epochs, cells=cells, losses=tuple(losses.values()), combination=combine(cells, (one, two), prior)
    )


def ranked(values: Mapping[Genotype, float], cells: Sequence[Genotype]) -> list[Genotype]:
    """`cells` by `values`, the best first; ties go to the earlier one."""
    return sorted(cells, key=lambda cell: -values[cell])
