"""Pieces of a long measurement, the machine that it ran on, figures."""

from .machine import machine

__all__ = [
    "machine",
]
