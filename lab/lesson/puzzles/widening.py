"""Tasks of lesson 04: what goes out of a copied unit, what Adam remembers of it, widening backwards."""

import torch
from torch import Tensor

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

UNITS = [0, 1, 2, 0, 0, 1]
"""Wide unit -> the unit that it copies."""


def _tensor(*shape: int, start: float = -1.0) -> Tensor:
    """Rising numbers of which no two are alike."""
    count = torch.Size(shape).numel()
    return (start + 0.37 * torch.arange(count, dtype=torch.float64)).sin().reshape(shape)


def _outgoing(answer: Answer) -> list[CheckResult]:
    weight, outgoing, x = _tensor(3, 4), _tensor(2, 3, start=5.0), _tensor(6, 4, start=9.0)
    wide = answer(outgoing.clone(), list(UNITS))
    if tuple(wide.shape) != (2, len(UNITS)):
        meaning = "wanted is one column for each wide unit"
        return [check("shape", list(wide.shape), [2, len(UNITS)], meaning=meaning)]
    got, want = torch.tanh(x @ weight[UNITS].T) @ wide.T, torch.tanh(x @ weight.T) @ outgoing.T
    return [
        check("output", got, want, atol=1e-9, meaning="what goes out of the copies of a unit must add up to its own")
    ]


SHARE_OUT = Exercise(
    "what goes out of a copy",
    hints=(
        "outgoing[:, units] copies the columns. How often is each unit counted then?",
        "Divide each column by the number of copies of its unit: units.count(unit).",
    ),
    compare=_outgoing,
    mistakes={
        "each copy goes out in full, so that a unit with three copies counts three times": lambda outgoing, units: (
            outgoing[:, units]
        ),
        "all are divided by the same number: a unit without a copy is too small": lambda outgoing, units: (
            outgoing[:, units] * outgoing.shape[1] / len(units)
        ),
    },
)


def _memory(answer: Answer) -> list[CheckResult]:
    average, square = _tensor(3, 4), _tensor(3, 4, start=2.0) ** 2
    shares = torch.tensor([0.5, 0.7, 1.0, 0.3, 0.2, 0.3], dtype=torch.float64)
    got = answer(average.clone(), square.clone(), list(UNITS), shares)
    scaled = shares[:, None]
    return [
        check(
            "average of the gradients",
            got[0],
            average[UNITS] * scaled,
            atol=1e-12,
            meaning="a copy has its unit's gradient times its share, and so has the average",
        ),
        check(
            "average of their squares",
            got[1],
            square[UNITS] * scaled**2,
            atol=1e-12,
            meaning="the square of a gradient times a share is its square times the square of the share",
        ),
    ]


CARRY_MEMORY = Exercise(
    "what Adam remembers of a copy",
    hints=(
        "average[units] copies the rows; shares[:, None] has one factor for each row.",
        "The second: shares squared.",
    ),
    compare=_memory,
    mistakes={
        "the copies' gradients are smaller than their unit's: both averages need the shares": lambda a, s, units, w: (
            a[units],
            s[units],
        ),
        "the average of squares needs the share squared": lambda a, s, units, w: (
            a[units] * w[:, None],
            s[units] * w[:, None],
        ),
        "zeros are an empty memory: the next step would be that of a new optimizer": lambda a, s, units, w: (
            torch.zeros_like(a[units]),
            torch.zeros_like(s[units]),
        ),
    },
)


def _merged(answer: Answer) -> list[CheckResult]:
    weight, bias, outgoing = _tensor(5, 4), _tensor(5, start=3.0), _tensor(3, 5, start=6.0)
    weight[4] = weight[3]
    units, x = [0, 1, 2, 3, 4, 1, 1, 2], _tensor(6, 4, start=11.0)
    shares = torch.tensor([1, 0.5, 0.7, 1, 1, 0.3, 0.2, 0.3], dtype=torch.float64)
    w, b, v = answer(weight[units], bias[units], outgoing[:, units] * shares)
    got, want = torch.tanh(x @ w.T + b) @ v.T, torch.tanh(x @ weight.T + bias) @ outgoing.T
    left = "five units differ: copies become one, and two that differ in the bias alone are no copies"
    return [
        check("units left", len(w), 5, meaning=left),
        check(
            "output", got, want, atol=1e-9, meaning="the output moved: what goes out of merged copies must be added up"
        ),
    ]


def _first_rows(weight: Tensor, bias: Tensor) -> tuple[Tensor, list[int]]:
    rows, number = torch.unique(torch.cat([weight, bias[:, None]], dim=1), dim=0, return_inverse=True)
    return rows, [number.tolist().index(row) for row in range(len(rows))]


def _keep_first(weight: Tensor, bias: Tensor, outgoing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first = _first_rows(weight, bias)[1]
    return weight[first], bias[first], outgoing[:, first]


def _averaged(weight: Tensor, bias: Tensor, outgoing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, number, count = torch.unique(
        torch.cat([weight, bias[:, None]], dim=1), dim=0, return_inverse=True, return_counts=True
    )
    summed = torch.zeros(len(outgoing), len(rows), dtype=outgoing.dtype).index_add(1, number, outgoing)
    return rows[:, :-1], rows[:, -1], summed / count


def _without_bias(weight: Tensor, bias: Tensor, outgoing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, number = torch.unique(weight, dim=0, return_inverse=True)
    first = [number.tolist().index(row) for row in range(len(rows))]
    summed = torch.zeros(len(outgoing), len(rows), dtype=outgoing.dtype).index_add(1, number, outgoing)
    return rows, bias[first], summed


MERGE = Exercise(
    "widening backwards",
    hints=(
        "Two units are copies if all that goes in is equal: the row of the weight, and the bias.",
        "The shares of a unit's copies add up to 1. So what goes out of them must be ...",
        "torch.unique(rows, dim=0, return_inverse=True) gives the different rows, and for each old row its new number.",
    ),
    compare=_merged,
    mistakes={
        "what goes out of the dropped copies is lost: add it up": _keep_first,
        "what goes out of the copies is averaged: the network adds it up": _averaged,
        "two units with the same row and another bias are no copies": _without_bias,
        "nothing was merged: the copies are all still there": lambda weight, bias, outgoing: (weight, bias, outgoing),
    },
)
