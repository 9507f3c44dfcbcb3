"""Runs killed within 50 ms of a flush or a checkpoint end, once resumed, with the bits and rows of one that was not."""

import json
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
from trial import RECIPES

RESULT = Path(__file__).resolve().parents[2] / "docs/results/kills.json"
KILLS = 200
AIM = 0.05
"""Seconds behind the beginning of the write in which the kill falls due."""
WELL = ("killed, resumed", "killed, begun anew")
"""Bits and rows of both are those of the run that went through; a run is begun anew where it had no checkpoint yet."""


def kill_runs(trials, recipe, count, seed=0):
    """Kill `count` runs of `recipe`; what became of them, and how long after the write began each was killed.

    A run that ended before its kill is no kill: another one is drawn.
    """
    draw, outcomes, delays = random.Random(f"{recipe} {seed}"), Counter(), []
    # Aimed at a write that never comes: this run goes through.
    whole = trials(recipe, "aimed", 10**6)
    assert whole["end"] == "finished", whole
    while len(delays) < count:
        answer = trials(recipe, "aimed", draw.randint(1, whole["writes"]), seed=draw.randrange(10**6))
        if answer["end"] == "killed":
            assert answer["signal"] == signal.SIGKILL
            outcomes[answer["outcome"]] += 1
            delays.append(answer["delay"])
    return outcomes, delays


@pytest.mark.slow
def test_runs_that_are_killed_beside_their_writes_lose_neither_bits_nor_rows(trials):
    outcomes, _ = kill_runs(trials, "fixed", 2)
    assert set(outcomes) <= set(WELL), outcomes


@pytest.mark.large
@pytest.mark.timeout(0)
def test_two_hundred_kills_over_all_recipes_lose_neither_bits_nor_rows(trials):
    result = {"kills": 0, "aim_s": AIM, "recipes": {}}
    for recipe in RECIPES:
        outcomes, delays = kill_runs(trials, recipe, KILLS // len(RECIPES))
        result["kills"] += len(delays)
        late = sum(delay > AIM for delay in delays)
        spread = {"median_s": sorted(delays)[len(delays) // 2], "max_s": max(delays), "later_than_aimed": late}
        result["recipes"][recipe] = {"outcomes": dict(outcomes), "delay": spread}
    RESULT.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    assert set().union(*(found["outcomes"] for found in result["recipes"].values())) <= set(WELL), result
