"""Every task of the lessons tells the empty stub, typical wrong answers and its folded solution from each other."""

import copy
import re

import pytest
import torch
from torch import nn

from lab.lesson import puzzles
from lab.lesson.notebook import lesson_files, lesson_tasks, lessons_folder, read_cells, solutions
from lab.lesson.puzzles import tuning
from lab.tune import POLICY
from lab.tune.ledger import Ledger, TrialRow

# Some of the checks ask the doctor, who searches what the user's modules hold.
pytestmark = pytest.mark.usefixtures("no_other_tests")

CONV = "conv := nn.Conv2d(into, out, 1, stride=stride)"
ZEROED = f"{CONV}, [nn.init.zeros_(each) for each in conv.parameters()]"
# Wrong answers beside the known mistakes of a task, and what is said of each.
WRONG = {
    "WITH_STEPS": {
        "lambda x: x + torch.linspace(0, 1, x.shape[1])[:, None]": "give dtype=",
        "lambda x: x + torch.linspace(0, 1, x.shape[1], dtype=x.dtype, device='cpu')[:, None]": "give device=",
        "lambda x: x + torch.linspace(0, 1, x.shape[2], dtype=x.dtype, device=x.device)": "the numbers rise",
    },
    "FILL": {
        "lambda model, state: model.to_empty(device='cpu')": "the head had values, and they are gone",
        "lambda model, state: (model.load_state_dict(state, assign=True), model)[1]": "the optimizer holds objects",
        "lambda model, state: (setattr(model.words, 'weight', nn.Parameter(state['words.weight'])), model)[1]": (
            "the tied pair has come apart"
        ),
    },
    "MAKE_SHORTCUT": {
        f"lambda into, out, stride: nn.Sequential(({CONV}), nn.BatchNorm2d(out))": "exactly 0 at first",
        "lambda into, out, stride: nn.Conv2d(into, out, 1)": "maps of the wanted shape",
        f"lambda into, out, stride: ({ZEROED}, nn.Sequential(conv, nn.BatchNorm2d(out)))[2]": "one small step makes",
        f"lambda into, out, stride: ({ZEROED}, norm := nn.BatchNorm2d(out), nn.init.zeros_(norm.weight), "
        "nn.Sequential(conv, norm))[4]": "it does not learn",
    },
    "TRANSITION": {"lambda old, new, beta: torch.where(torch.tensor(beta > 0.5), new, old)": "at beta 0.25 three"},
    "STRAIGHT_THROUGH": {"lambda alpha, tau, noise: alpha": "the draw is one operation"},
    "DOUBLE_FIRST": {"lambda e: e * 1": "the first element doubled"},
}


def folded():
    """Name of a puzzle -> the solution that a lesson folds, and the function that it defines."""
    found = {}
    for path in lesson_files(lessons_folder()):
        cells = read_cells(path)
        for task, solution in zip(lesson_tasks(path.stem, cells), solutions(cells), strict=True):
            if named := re.fullmatch(r"puzzles\.(\w+)\.check\((\w+)\)", cells[task.check].source):
                assert named.group(2) == task.name
                found[named.group(1)] = (task.name, solution)
    return found


FOLDED = folded()


def mistakes():
    for name in puzzles.__all__:
        yield from ((name, text) for text in getattr(puzzles, name).mistakes)


def test_every_puzzle_stands_in_a_lesson_with_its_solution():
    assert set(FOLDED) == set(puzzles.__all__)


@pytest.mark.parametrize("name", puzzles.__all__)
def test_the_empty_stub_is_not_tried_yet(name):
    assert getattr(puzzles, name).check(lambda *args: ...).status == "not tried yet"


@pytest.mark.parametrize("name", puzzles.__all__)
def test_the_folded_solution_is_right_and_gives_the_same_verdict_twice(name):
    space = {"POLICY": POLICY, "copy": copy, "torch": torch, "nn": nn, "cross_entropy": nn.functional.cross_entropy}
    function, solution = FOLDED[name]
    exec(solution, space)
    for _ in range(2):
        attempt = getattr(puzzles, name).check(space[function])
        assert attempt.ok, attempt


@pytest.mark.parametrize(("name", "text"), list(mistakes()))
def test_each_known_mistake_is_told_from_the_others(name, text):
    puzzle = getattr(puzzles, name)
    attempt = puzzle.check(puzzle.mistakes[text])
    assert attempt.status == "not yet"
    assert attempt.what_is_wrong == (text,), attempt


@pytest.mark.parametrize(("name", "answer"), [(name, answer) for name, answers in WRONG.items() for answer in answers])
def test_other_wrong_answers_are_told_what_is_wrong(name, answer):
    attempt = getattr(puzzles, name).check(eval(answer))
    assert attempt.status == "not yet"
    assert any(WRONG[name][answer] in text for text in attempt.what_is_wrong), attempt


@pytest.mark.parametrize("name", puzzles.__all__)
def test_every_puzzle_knows_at_least_two_wrong_answers(name):
    assert len(getattr(puzzles, name).mistakes) + len(WRONG.get(name, {})) >= 2


@pytest.mark.parametrize("name", tuning.STUDIES)
def test_the_trials_that_are_due_are_those_of_the_ledger(name):
    pairs, wanted = tuning.STUDIES[name]
    rows = [
        TrialRow(
            number=number,
            state="FAIL" if cause else "COMPLETE",
            attrs={"owner": 0, "root": root, "cause": cause},
        )
        for number, (root, cause) in enumerate(pairs)
    ]
    assert [each.root for each in Ledger.of(rows, n_trials=len(rows), retries=1).due()] == wanted


def test_the_task_on_retries_knows_what_is_never_tried_again():
    assert all(POLICY[cause].retried == "never" for cause in tuning.NEVER)
