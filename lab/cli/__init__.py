"""The command line: `lab COMMAND`, also as `python -m lab.cli COMMAND`."""

from lab.cli.main import main

__all__ = [
    "main",
]
