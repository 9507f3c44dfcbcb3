"""Which of several trials no other one beats in every objective; needs no Plotly."""

from collections.abc import Mapping, Sequence


def pareto_front(values: Mapping[int, Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Trials that no other one beats in every objective, in order of their numbers.

    Args:
        values: number of a trial -> its value of each objective, all finite.
        directions: minimize or maximize, of each objective.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    costs = {number: [s * v for s, v in zip(signs, each, strict=True)] for number, each in values.items()}
    return [n for n, own in sorted(costs.items()) if not any(_dominates(other, own) for other in costs.values())]


def _dominates(one: Sequence[float], two: Sequence[float]) -> bool:
    pairs = list(zip(one, two, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
