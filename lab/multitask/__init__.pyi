"""One model of text and a table that learns several tasks at once."""

from .config import WEIGHTINGS, MultitaskConfig
from .strategy import MultitaskStrategy, make_hybrid
from .tasks import LossWeights, TaskLosses, Walk

__all__ = [
    "WEIGHTINGS",
    "LossWeights",
    "MultitaskConfig",
    "MultitaskStrategy",
    "TaskLosses",
    "Walk",
    "make_hybrid",
]
