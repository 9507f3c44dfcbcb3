"""Tasks of lesson 08: the plan of a search, the rank of a cell, the exact value of random search."""

import random
import statistics
from collections.abc import Sequence
from itertools import combinations, product
from math import comb

import numpy as np

from lab.base import ConfigError
from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise
from lab.space import NB125, Genotype, find_table

Plan = list[tuple[str, int]]


def _plan(warmup: int, architecture: int, weights: int, cycles: int) -> Plan:
    cycle = [("arch_training", architecture), ("mutation", 0), ("weight_retraining", weights)]
    return [("warmup", warmup), *(cycles * cycle), ("finished", 0)]


def _phases(answer: Answer) -> list[CheckResult]:
    found = []
    for numbers in ((4, 3, 2, 1), (5, 1, 2, 2), (4, 3, 2, 3)):
        got = [tuple(pair) for pair in answer(*numbers)]
        want = _plan(*numbers)
        name, epochs = f"cycles: {numbers[3]}", sum(each for _, each in want)
        meaning = "after the warm-up each cycle is architecture training, mutation, weight retraining; then the end"
        found.append(check(f"{name}, names", [pair[0] for pair in got], [pair[0] for pair in want], meaning=meaning))
        meaning = "the phases are right and their epochs are not: a mutation and the end take 0"
        found.append(check(f"{name}, epochs", sum(pair[1] for pair in got), epochs, meaning=meaning))
    return found


PHASES = Exercise(
    "the plan of a search",
    hints=(
        "Which phases come once, and which come once in each cycle?",
        "cycles * [a, b, c] is the list a, b, c, a, b, c, ...",
        "[('warmup', warmup), *(cycles * cycle), ('finished', 0)], where cycle has three pairs.",
    ),
    compare=_phases,
    mistakes={
        "the warm-up comes once, not in each cycle": lambda warmup, architecture, weights, cycles: [
            *(cycles * _plan(warmup, architecture, weights, 1)[:-1]),
            ("finished", 0),
        ],
        "the end is missing": lambda *numbers: _plan(*numbers)[:-1],
        "the mutation is missing between architecture training and weight retraining": lambda *numbers: [
            pair for pair in _plan(*numbers) if pair[0] != "mutation"
        ],
        "there is one cycle whatever `cycles` says": lambda warmup, architecture, weights, cycles: _plan(
            warmup, architecture, weights, 1
        ),
    },
)

ACCURACIES = (91.0, 96.5, 88.25, 96.5, 40.0, 97.0)


def _rank(answer: Answer) -> list[CheckResult]:
    wanted = [1 + sum(other > own for other in ACCURACIES) for own in ACCURACIES]
    meaning = "the rank is one more than the number of cells that are better"
    got = [int(answer(own, list(ACCURACIES))) for own in ACCURACIES]
    return [check("ranks of six cells", np.array(got), np.array(wanted), meaning=meaning)]


RANK = Exercise(
    "the rank of a cell",
    hints=("How many cells are better than the best one? Its rank is 1.", "Count those that are better, and add 1."),
    compare=_rank,
    mistakes={
        "the best cell has rank 0: count the better ones and add 1": lambda accuracy, accuracies: sum(
            other > accuracy for other in accuracies
        ),
        "cells that are equally good push each other back: count only those that are better": (
            lambda accuracy, accuracies: sum(other >= accuracy for other in accuracies)
        ),
        "the ranks are counted from the worst cell": lambda accuracy, accuracies: (
            1 + sum(other < accuracy for other in accuracies)
        ),
    },
)


def _random_search(answer: Answer) -> list[CheckResult]:
    rng = random.Random(4)
    valid, tested = [rng.random() for _ in range(6)], [rng.random() for _ in range(6)]
    meaning = "the mean over all draws of different cells, each of which counts its best one by validation"
    found = []
    for n in (1, 2, 4, 6):
        winners = [max(draw, key=lambda place: valid[place]) for draw in combinations(range(6), n)]
        want = statistics.fmean(tested[place] for place in winners)
        found.append(check(f"{n} of 6 cells", answer(valid, tested, n), want, atol=1e-9, meaning=meaning))
    table = find_table(NB125)
    if table is None:
        raise ConfigError("the table of nb125", "none", "install the package with its data")
    cells = [Genotype(NB125, primitives) for primitives in product(NB125.primitives, repeat=3)]
    # Two cells with the same validation accuracy are told apart by their places.
    ranked = [table.query(cell, "digits_validation") + 1e-9 * place for place, cell in enumerate(cells)]
    truth = [table.query(cell, "digits_test") for cell in cells]
    want = _expected(ranked, truth, 10)
    found.append(check("10 cells of the table", answer(ranked, truth, 10), want, atol=1e-6, meaning=meaning))
    return found


def _expected(validation: Sequence[float], test: Sequence[float], n: int) -> float:
    ranked = [accuracy for _, accuracy in sorted(zip(validation, test, strict=True))]
    return sum(comb(place, n - 1) * accuracy for place, accuracy in enumerate(ranked)) / comb(len(ranked), n)


def _with_repeats(validation: Sequence[float], test: Sequence[float], n: int) -> float:
    ranked = [accuracy for _, accuracy in sorted(zip(validation, test, strict=True))]
    size = len(ranked)
    chances = [((place + 1) / size) ** n - (place / size) ** n for place in range(size)]
    return sum(chance * accuracy for chance, accuracy in zip(chances, ranked, strict=True))


def _estimated(validation: Sequence[float], test: Sequence[float], n: int) -> float:
    rng = random.Random(0)
    draws = [rng.sample(range(len(test)), n) for _ in range(200)]
    winners = [max(draw, key=lambda place: validation[place]) for draw in draws]
    return statistics.fmean(test[place] for place in winners)


RANDOM_SEARCH = Exercise(
    "random search, exactly",
    hints=(
        "Sort the cells by validation accuracy. When is the cell at place m (from 0, the worst first) the winner?",
        "When it is drawn, and all the others that are drawn are among the m cells below it.",
        "There are math.comb(m, n - 1) such draws, of math.comb(len(test), n) in all.",
    ),
    compare=_random_search,
    mistakes={
        "a cell may be drawn twice here: a random search draws different cells": _with_repeats,
        "the winner is chosen by its test accuracy: the search sees the validation accuracy alone": (
            lambda validation, test, n: _expected(test, test, n)
        ),
        "that is the mean of all cells: from two cells on, the better one by validation wins": (
            lambda validation, test, n: sum(test) / len(test)
        ),
        "that is an estimate: wanted is the exact value": _estimated,
    },
)
