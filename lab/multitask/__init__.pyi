"""One model of text and a table that learns several tasks at once."""

from .strategy import HybridStrategy, make_hybrid
from .tasks import WEIGHTINGS, BackwardResult, HybridConfig, LossWeights, TaskLosses

__all__ = [
    "WEIGHTINGS",
    "BackwardResult",
    "HybridConfig",
    "HybridStrategy",
    "LossWeights",
    "TaskLosses",
    "make_hybrid",
]
