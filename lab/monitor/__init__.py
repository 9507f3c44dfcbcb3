"""The stability of a training run: signals as pure functions, a monitor that observes each step, its verdict."""

from lab.monitor.config import MonitorConfig
from lab.monitor.monitor import StabilityMonitor
from lab.monitor.signals import noise, oscillation, trend
from lab.monitor.verdict import ADVICE, STATES, Verdict

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
