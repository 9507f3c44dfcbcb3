"""Tasks of the lessons, each an `Exercise`: its hints, its checks, and what is wrong with typical answers."""

from .autograd import CHAIN_RULE, DOUBLE_FIRST, MEAN_LOSS
from .build import GUMBEL_NOISE, STRAIGHT_THROUGH, TRANSITION
from .checkpoints import BYTES_IN, IS_WHOLE, SNAPSHOT
from .devices import REACHED, TWO_HEADS, WITH_STEPS
from .memory import BYTES_KEPT, LET_GO, PADDED_STEP
from .meta import FATE, FILL, WITHOUT_VALUES
from .phases import PHASES, RANDOM_SEARCH, RANK
from .residual import JOIN, MAKE_SHORTCUT, SHORTCUT_SHAPE
from .router import BALANCE, LOAD_SHARES, STRANGERS
from .stability import FIRST_BAD, GO_BACK, LOST
from .temperature import CHANCES, COOLING, SLOPE
from .tour import HAND_OVER, LARGEST_DIFFERENCE, TWINS
from .widening import CARRY_MEMORY, MERGE, SHARE_OUT

__all__ = [
    "BALANCE",
    "BYTES_IN",
    "BYTES_KEPT",
    "CARRY_MEMORY",
    "CHAIN_RULE",
    "CHANCES",
    "COOLING",
    "DOUBLE_FIRST",
    "FATE",
    "FILL",
    "FIRST_BAD",
    "GO_BACK",
    "GUMBEL_NOISE",
    "HAND_OVER",
    "IS_WHOLE",
    "JOIN",
    "LARGEST_DIFFERENCE",
    "LET_GO",
    "LOAD_SHARES",
    "LOST",
    "MAKE_SHORTCUT",
    "MEAN_LOSS",
    "MERGE",
    "PADDED_STEP",
    "PHASES",
    "RANDOM_SEARCH",
    "RANK",
    "REACHED",
    "SHARE_OUT",
    "SHORTCUT_SHAPE",
    "SLOPE",
    "SNAPSHOT",
    "STRAIGHT_THROUGH",
    "STRANGERS",
    "TRANSITION",
    "TWINS",
    "TWO_HEADS",
    "WITHOUT_VALUES",
    "WITH_STEPS",
]
