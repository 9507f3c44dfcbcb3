"""Where runs lie; apart from what reads them, since a help page names it."""

from pathlib import Path

RUNS_ROOT = Path("runs")
"""Where runs lie unless a person says otherwise: a folder of the working directory."""
