"""An interactive laboratory for neural networks that change their own architecture while they train."""

from lab.base import LabError, Report

__all__ = ["LabError", "Report", "__version__"]

__version__ = "0.2.0"
