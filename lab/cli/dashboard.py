"""`lab dashboard`."""

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cli.parse import parse
from lab.store import RUNS_ROOT

PORT = 8501


@dataclass(frozen=True, kw_only=True)
class DashboardCommand:
    """Open the live page on the runs of a folder. It shows runs of other processes; Ctrl-C ends it."""

    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    port: int = PORT
    """Port on 127.0.0.1; the page cannot be reached from other machines."""
    browser: bool = True
    """Open a browser window."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab dashboard --save-dir runs", "lab dashboard --port 8600 --no-browser")
    command = parse(DashboardCommand, arguments, prog="lab dashboard", examples=examples)
    # Its modules take longer to import than a help page takes to write.
    from lab.cli.serve import dashboard_server

    with dashboard_server(command.port, command.save_dir) as address:
        show(address, browser=command.browser)
        stay()
    return 0


def show(address: str, *, browser: bool) -> None:
    """Say where the page is and open it."""
    sys.stderr.write(f"the page is at {address}  (Ctrl-C ends it)\n")
    if browser:
        import webbrowser

        webbrowser.open(address)


def stay() -> None:
    """Wait for Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
