"""Tasks of the lessons, each an `Exercise`: its hints, its checks, and what is wrong with typical answers."""

from .agent import ATTEMPT, DECIDE, PAIRED_ERROR, UNSTEPPED
from .autograd import CHAIN_RULE, DOUBLE_FIRST, MEAN_LOSS
from .backward_twice import FINISH, LOSS_WEIGHTS, NOT_AGAINST, WITH_GRAPH
from .build import GUMBEL_NOISE, STRAIGHT_THROUGH, TRANSITION
from .checkpoints import BYTES_IN, IS_WHOLE, SNAPSHOT
from .devices import REACHED, TWO_HEADS, WITH_STEPS
from .in_place import OVERWRITTEN, SLOPE, STORE_ROW
from .memory import BYTES_KEPT, LET_GO, PADDED_STEP
from .meta import FATE, FILL, WITHOUT_VALUES
from .own_model import FARTHEST, GATE, IN_LISTS
from .phases import PHASES, RANDOM_SEARCH, RANK
from .residual import JOIN, MAKE_SHORTCUT, SHORTCUT_SHAPE
from .router import BALANCE, LOAD_SHARES, STRANGERS
from .silence import ROOT, SILENCE, UNIT_ROWS
from .stability import FIRST_BAD, GO_BACK, LOST
from .temperature import CHANCES, COOLING, TEMPERATURE_SLOPE
from .tour import HAND_OVER, LARGEST_DIFFERENCE, TWINS
from .tuning import DUE, LEFT_BEHIND, LOST_TRIALS
from .widening import CARRY_MEMORY, MERGE, SHARE_OUT

__all__ = [
    "ATTEMPT",
    "BALANCE",
    "BYTES_IN",
    "BYTES_KEPT",
    "CARRY_MEMORY",
    "CHAIN_RULE",
    "CHANCES",
    "COOLING",
    "DECIDE",
    "DOUBLE_FIRST",
    "DUE",
    "FARTHEST",
    "FATE",
    "FILL",
    "FINISH",
    "FIRST_BAD",
    "GATE",
    "GO_BACK",
    "GUMBEL_NOISE",
    "HAND_OVER",
    "IN_LISTS",
    "IS_WHOLE",
    "JOIN",
    "LARGEST_DIFFERENCE",
    "LEFT_BEHIND",
    "LET_GO",
    "LOAD_SHARES",
    "LOSS_WEIGHTS",
    "LOST",
    "LOST_TRIALS",
    "MAKE_SHORTCUT",
    "MEAN_LOSS",
    "MERGE",
    "NOT_AGAINST",
    "OVERWRITTEN",
    "PADDED_STEP",
    "PAIRED_ERROR",
    "PHASES",
    "RANDOM_SEARCH",
    "RANK",
    "REACHED",
    "ROOT",
    "SHARE_OUT",
    "SHORTCUT_SHAPE",
    "SILENCE",
    "SLOPE",
    "SNAPSHOT",
    "STORE_ROW",
    "STRAIGHT_THROUGH",
    "STRANGERS",
    "TEMPERATURE_SLOPE",
    "TRANSITION",
    "TWINS",
    "TWO_HEADS",
    "UNIT_ROWS",
    "UNSTEPPED",
    "WITHOUT_VALUES",
    "WITH_GRAPH",
    "WITH_STEPS",
]
