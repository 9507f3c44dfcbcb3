"""Each call on a file of a run fails in turn: what becomes of the run is one of a written table, never else."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from trial import FAULTS, KINDS, RECIPES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
RESULT = ROOT / "docs/results/faults.json"
CALLS = int(os.environ.get("LAB_CALLS", "0"))
"""Calls drawn of each kind of file, operation and fault in the long form; 0: every one, which takes hours."""

ON = ("goes on", "goes on, told")
FAIL = ("fails, begun anew", "fails, resumed")
ALLOWED = {
    ("database at its beginning", "error"): ("goes on", "fails, begun anew"),
    ("database", "error"): (*ON, *FAIL),
    ("settings", "error"): ("fails, begun anew",),
    ("tensors", "error"): ("goes on", *FAIL),
    ("head", "error"): ("goes on", *FAIL),
    ("report", "error"): ("fails, resumed",),
    ("command", "error"): ON,
    **{(kind, "no room from then on"): FAIL for kind in KINDS},
    ("database", "no room from then on"): (*ON, *FAIL),
    **{(kind, "killed"): ("killed, begun anew", "killed, resumed") for kind in KINDS},
    ("report", "killed"): ("killed, resumed",),
}
"""(kind of file, column of the table) -> what may become of a run. `error` is a single call that fails."""
COLUMNS = ("error", "no room from then on", "killed")
SAMPLE = (
    ("fixed", "write", "tensors", 30, "no room from then on"),
    ("fixed", "rename", "head", 2, "killed before"),
    ("fixed", "write", "database", 60, "input/output error"),
    ("fixed", "fsync", "database", 4, "killed after"),
    ("fixed", "rename", "report", 1, "no permission"),
)
"""Recipe, operation, kind of file, number of the call, fault."""


def column(fault):
    """The column of the table that a fault belongs to."""
    return fault if fault in COLUMNS else "killed" if fault.startswith("killed") else "error"


def outcome_table():
    """The table as docs/reliability.md has it."""
    lines = [f"| file | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    lines += [f"| {kind} | " + " | ".join("; ".join(ALLOWED[kind, name]) for name in COLUMNS) + " |" for kind in KINDS]
    return "\n".join(lines)


def test_the_table_of_outcomes_is_the_one_that_the_page_prints():
    assert outcome_table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("recipe", "operation", "kind", "at", "fault"), SAMPLE)
@pytest.mark.slow
def test_a_call_that_fails_has_an_outcome_of_the_table(trials, whole_calls, recipe, operation, kind, at, fault):
    assert whole_calls(recipe)[operation, kind] >= at
    answer = trials(recipe, fault, at, operation=operation, kind=kind)
    assert answer["outcome"] in ALLOWED[kind, column(fault)], answer


@pytest.fixture(scope="session")
def whole_calls(trials):
    """How often each (operation, kind of file) is called in an undisturbed run of a recipe."""
    known = {}

    def count(recipe):
        if recipe not in known:
            answer = trials(recipe, "no room", 0)
            assert answer["end"] == "finished", answer
            known[recipe] = Counter(map(tuple, answer["calls"]))
        return known[recipe]

    return count


@pytest.mark.large
@pytest.mark.timeout(0)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_call_that_fails_has_an_outcome_of_the_table(trials, whole_calls, recipe):
    found, wrong = {}, []
    for (operation, kind), count in sorted(whole_calls(recipe).items()):
        for fault in FAULTS:
            cell = found.setdefault(f"{kind}, {operation}, {fault}", {})
            for at in drawn(count, recipe, operation, kind, fault):
                outcome = trials(recipe, fault, at, operation=operation, kind=kind)["outcome"]
                cell[outcome] = cell.get(outcome, 0) + 1
                # The last ones of a kind may not come: a thread writes as its clock says.
                if outcome not in (*ALLOWED[kind, column(fault)], "goes on"):
                    wrong.append((operation, kind, at, fault, outcome))
    write_result(recipe, found)
    assert not wrong, "\n".join(map(str, wrong))


def drawn(count, *names):
    """Numbers of calls, from 1: `CALLS` of `count`, the same ones for the same names."""
    numbers = range(1, count + 1)
    return random.Random(repr(names)).sample(numbers, CALLS) if 0 < CALLS < count else numbers


def write_result(recipe, found):
    """Put the outcomes of a recipe into the committed result."""
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result[recipe] = {"calls": sum(sum(cell.values()) for cell in found.values()), "cells": found}
    RESULT.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


def test_the_sample_has_each_column_of_the_table():
    assert {column(fault) for *_, fault in SAMPLE} == set(COLUMNS)
    assert {kind for _, _, kind, _, _ in SAMPLE} <= set(KINDS)
