"""A run as one HTML file, as `lab runs report` writes it."""

import subprocess
import tempfile
from pathlib import Path

from components.start import lab_command
from lab.base import StoreError

REPORT_SECONDS = 120.0
"""For a report, on a busy machine."""


def report_html(run_dir: Path) -> bytes:
    """The report of a run.

    Raises:
        StoreError: the command that writes it says why it does not.
    """
    expected, hint = f"a report of {run_dir.name}", f"run lab runs report {run_dir} in a terminal"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        # A process of its own: the page reads the store alone, and writing a report would hold up all tabs.
        command = lab_command("runs", "report", str(run_dir.absolute()), "--out", str(path))
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=REPORT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreError(expected, f"{type(error).__name__}: {error}", hint) from error
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise StoreError(expected, said[-1], hint)
        return path.read_bytes()
