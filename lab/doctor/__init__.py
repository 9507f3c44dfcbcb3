"""Instruments that name the tensor, the operation and the line at fault."""

from lab.doctor.backward import BackwardFinding, BackwardReport, WatchConfig, explain_backward
from lab.doctor.place import Place

__all__ = ["BackwardFinding", "BackwardReport", "Place", "WatchConfig", "explain_backward"]
