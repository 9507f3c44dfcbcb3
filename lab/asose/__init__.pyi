"""ASO-SE: alternating, stable search of an architecture, with a live network that mutates without a jump."""

from .config import ASOSEConfig
from .live_network import TOLERANCE, LiveNetwork
from .mutator import Mutator, Pending
from .strategy import ASOSEStrategy

__all__ = [
    "TOLERANCE",
    "ASOSEConfig",
    "ASOSEStrategy",
    "LiveNetwork",
    "Mutator",
    "Pending",
]
