"""The stability of a training run: signals as pure functions, a monitor that observes each step, its verdict."""

from .config import MonitorConfig
from .monitor import StabilityMonitor
from .signals import noise, oscillation, trend
from .verdict import ADVICE, STATES, Verdict

__all__ = [
    "ADVICE",
    "STATES",
    "MonitorConfig",
    "StabilityMonitor",
    "Verdict",
    "noise",
    "oscillation",
    "trend",
]
