"""One model of text and a table that learns several tasks at once."""

from .strategy import HybridStrategy, make_hybrid
from .tasks import WEIGHTINGS, HybridConfig, LossWeights, TaskLosses, Walk

__all__ = [
    "WEIGHTINGS",
    "HybridConfig",
    "HybridStrategy",
    "LossWeights",
    "TaskLosses",
    "Walk",
    "make_hybrid",
]
