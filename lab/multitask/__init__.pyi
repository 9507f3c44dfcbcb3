"""One model of text and a table that learns several tasks at once."""

from .config import WEIGHTINGS, MultitaskConfig
from .strategy import MultitaskStrategy, make_hybrid
from .tasks import BackwardResult, LossWeights, TaskLosses

__all__ = [
    "WEIGHTINGS",
    "BackwardResult",
    "LossWeights",
    "MultitaskConfig",
    "MultitaskStrategy",
    "TaskLosses",
    "make_hybrid",
]
