"""Tasks of the lessons, each an `Exercise`: its hints, its checks, and what is wrong with typical answers."""

from .autograd import CHAIN_RULE, DOUBLE_FIRST, MEAN_LOSS
from .build import GUMBEL_NOISE, STRAIGHT_THROUGH, TRANSITION
from .devices import REACHED, TWO_HEADS, WITH_STEPS
from .tour import HAND_OVER, LARGEST_DIFFERENCE, TWINS

__all__ = [
    "CHAIN_RULE",
    "DOUBLE_FIRST",
    "GUMBEL_NOISE",
    "HAND_OVER",
    "LARGEST_DIFFERENCE",
    "MEAN_LOSS",
    "REACHED",
    "STRAIGHT_THROUGH",
    "TRANSITION",
    "TWINS",
    "TWO_HEADS",
    "WITH_STEPS",
]
