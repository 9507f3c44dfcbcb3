"""Tasks of the lessons, each an `Exercise`: its hints, its checks, and what is wrong with typical answers."""

from .autograd import CHAIN_RULE, DOUBLE_FIRST, MEAN_LOSS
from .backward_twice import FINISH, LOSS_WEIGHTS, NOT_AGAINST, WITH_GRAPH
from .build import GUMBEL_NOISE, STRAIGHT_THROUGH, TRANSITION
from .devices import REACHED, TWO_HEADS, WITH_STEPS
from .in_place import OVERWRITTEN, SLOPE, STORE_ROW
from .memory import BYTES_KEPT, LET_GO, PADDED_STEP
from .meta import FATE, FILL, WITHOUT_VALUES
from .residual import JOIN, MAKE_SHORTCUT, SHORTCUT_SHAPE
from .tour import HAND_OVER, LARGEST_DIFFERENCE, TWINS
from .widening import CARRY_MEMORY, MERGE, SHARE_OUT

__all__ = [
    "BYTES_KEPT",
    "CARRY_MEMORY",
    "CHAIN_RULE",
    "DOUBLE_FIRST",
    "FATE",
    "FILL",
    "FINISH",
    "GUMBEL_NOISE",
    "HAND_OVER",
    "JOIN",
    "LARGEST_DIFFERENCE",
    "LET_GO",
    "LOSS_WEIGHTS",
    "MAKE_SHORTCUT",
    "MEAN_LOSS",
    "MERGE",
    "NOT_AGAINST",
    "OVERWRITTEN",
    "PADDED_STEP",
    "REACHED",
    "SHARE_OUT",
    "SHORTCUT_SHAPE",
    "SLOPE",
    "STORE_ROW",
    "STRAIGHT_THROUGH",
    "TRANSITION",
    "TWINS",
    "TWO_HEADS",
    "WITHOUT_VALUES",
    "WITH_GRAPH",
    "WITH_STEPS",
]
