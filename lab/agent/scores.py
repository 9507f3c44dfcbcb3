"""Scores that say where a change should be made, and trivial ones that stand beside them.

The larger a layer's score for an action, the sooner it is chosen. What each is worth is measured by
`lab experiment scores`.
"""

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

import torch
from torch import Tensor

from lab.agent.measure import LayerMeasure

LayerScore = Callable[[LayerMeasure, Random], float]
UnitScore = Callable[[LayerMeasure, Random], Tensor]


def _random_units(layer: LayerMeasure, random: Random) -> Tensor:
    return torch.tensor([random.random() for _ in range(layer.width)], dtype=torch.float64)


LAYER_SCORES: Mapping[str, LayerScore] = MappingProxyType(
    {
        "information": lambda layer, random: layer.information,
        "little_information": lambda layer, random: -layer.information,
        "entropy": lambda layer, random: layer.entropy,
        "little_entropy": lambda layer, random: -layer.entropy,
        "redundancy": lambda layer, random: layer.redundancy,
        "little_redundancy": lambda layer, random: -layer.redundancy,
        "gradient": lambda layer, random: layer.gradient,
        "taylor": lambda layer, random: float(layer.taylor_C.sum()),
        "little_taylor": lambda layer, random: -float(layer.taylor_C.mean()),
        "width": lambda layer, random: float(layer.width),
        "narrow": lambda layer, random: -float(layer.width),
        "parameters": lambda layer, random: float(layer.parameters),
        "random": lambda layer, random: random.random(),
    }
)
"""Scores of a layer by name; width, narrow, parameters and random measure nothing."""
UNIT_SCORES: Mapping[str, UnitScore] = MappingProxyType(
    {
        "entropy": lambda layer, random: layer.entropy_C,
        "taylor": lambda layer, random: layer.taylor_C,
        "weight": lambda layer, random: layer.weight_C,
        "random": _random_units,
    }
)
"""Scores of a layer's units by name (C,): the units with the largest are kept."""
