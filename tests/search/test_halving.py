"""The plan of short trainings, the shortlist, and what a rung says."""

import math
import random

import pytest

from lab.search import halving
from lab.search.halving import LEAST_SHORTLIST, MOST_SHORTLIST, judge, plan_evidence, ranked, shortlist
from lab.space import NB125, Genotype, sample

CELLS = [Genotype.from_indices(NB125, (a, b, c)) for a in range(5) for b in range(5) for c in range(5)]


def test_a_plan_spends_at_most_what_is_left_and_never_too_few_cells():
    counts = set()
    for seconds in range(0, 200, 5):
        plan = plan_evidence(seconds, 0.1, 110)
        counts.add(plan.shortlist)
        assert plan.epochs * 0.1 <= seconds
        assert plan.shortlist == 0 or LEAST_SHORTLIST <= plan.shortlist <= MOST_SHORTLIST
        assert [count for count, _ in plan.rungs()] == ([plan.shortlist, plan.shortlist // 4] if plan.shortlist else [])
    assert counts == {0, *range(LEAST_SHORTLIST, MOST_SHORTLIST + 1, 4)}


def test_a_plan_without_evidence_says_what_it_would_cost():
    plan = plan_evidence(50, 1.5, 200)
    assert plan.shortlist == 0
    assert "50 CPU s left" in plan.reason
    assert f"{halving.EvidencePlan(shortlist=8, reason='').epochs} are needed" in plan.reason


@pytest.mark.parametrize("count", [8, 12, 20, 24])
@pytest.mark.parametrize("known", [24, 25, 60, 110])
def test_a_shortlist_is_half_what_the_prior_likes_and_half_from_all_the_rest(count, known):
    places = [CELLS.index(cell) for cell in shortlist(CELLS[:known], count)]
    assert len(set(places)) == count
    assert places == sorted(places)
    assert places[: count // 2] == list(range(count // 2))
    assert places[-1] == known - 1


def test_a_rung_orders_cells_by_prior_and_evidence_and_tells_of_others():
    rng = random.Random(0)
    good = {cell: sum(column == 3 for column in cell.indices) for cell in CELLS}
    trained = rng.sample(CELLS, 24)
    losses = {cell: tuple(math.exp(-good[cell] + rng.gauss(0, 0.1)) for _ in range(2)) for cell in trained}
    rung = judge(8, losses, None, CELLS)
    assert rung.trained == tuple(trained)
    assert good[ranked(rung.values, trained)[0]] == max(good[cell] for cell in trained)
    others = [cell for cell in CELLS if cell not in losses]
    assert good[ranked(rung.values, others)[0]] >= 2
    facts = rung.to_dict()
    assert facts["epochs"] == 8
    assert len(facts["losses"]) == len(facts["cells"]) == len(facts["values"]) == 24
    assert facts["evidence_reliability"] > 0.9


def test_a_rung_without_repeatable_evidence_keeps_the_order_of_beliefs():
    rng = random.Random(1)
    cells = [sample(NB125, rng) for _ in range(1)] + CELLS[:11]
    cells = list(dict.fromkeys(cells))
    beliefs = {cell: (float(-place), float(-place)) for place, cell in enumerate(cells)}
    losses = {cell: (math.exp(noise := rng.gauss(0, 1)), math.exp(-noise)) for cell in cells[:8]}
    assert ranked(judge(8, losses, beliefs, cells).values, cells) == cells
