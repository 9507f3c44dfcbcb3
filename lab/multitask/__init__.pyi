"""One model of text and a table that learns several tasks at once."""

from .config import WEIGHTINGS, HybridConfig
from .strategy import HybridStrategy, make_hybrid
from .tasks import LossWeights, TaskLosses, Walk

__all__ = [
    "WEIGHTINGS",
    "HybridConfig",
    "HybridStrategy",
    "LossWeights",
    "TaskLosses",
    "Walk",
    "make_hybrid",
]
