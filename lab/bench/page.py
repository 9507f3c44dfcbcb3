"""The page for a bench: the server and a training as processes of their own, and the browser that looks at them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

import lab
from lab.base import ConfigError, StoreError, missing_extra
from lab.store import RunReader, list_runs

HOST = "127.0.0.1"
NAME = "bench"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TRAINING = (
    "--dataset digits --warmup-epochs 1 --arch-training-epochs 1 --weight-training-epochs 4 --total-cycles 200 "
    "--init-channels 8 --batch-size 32 --threads 1 --device cpu --no-save-checkpoints"
)
STARTING_SECONDS = 300.0
END_SECONDS = 30.0
CHART = ".lab-chart.js-plotly-plot"
"""A chart of the page that is drawn."""
NUMBERS = "[data-testid=stMetricValue]"
"""A headline number of it."""


def wait_for(ask: Callable[[], Any], what: str, seconds: float) -> Any:
    """Ask until the answer is true; the answer.

    Raises:
        StoreError: it never was within `seconds`.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise StoreError(what, f"none within {seconds:g} s", "try again on a quieter machine")


@contextmanager
def live_training(root: Path) -> Iterator[RunReader]:
    """A training process with a live network, as long as the block runs."""
    with _process("train", *TRAINING.split(), "--save-dir", str(root), "--name", NAME):
        wait_for(lambda: [run for run in list_runs(root) if run.state == "running"], "a training", STARTING_SECONDS)
        reader = RunReader(root / NAME)
        wait_for(lambda: _taken(reader), "a live network", STARTING_SECONDS)
        yield reader


def _taken(reader: RunReader) -> bool:
    events = reader.events(kinds=("genotype",)).events
    return any(event.payload["reason"] == "extracted" for event in events)


@contextmanager
def serve_page(root: Path) -> Iterator[str]:
    """The dashboard over `root`, as long as the block runs; gives its address."""
    with served("dashboard", "--save-dir", str(root)) as address:
        yield address


@contextmanager
def served(*command: str) -> Iterator[str]:
    """A command of the lab that shows a page, without a window, as long as the block runs; gives the page's address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    address = f"http://{HOST}:{port}"
    with _process(*command, "--port", str(port), "--no-browser"):
        wait_for(lambda: _up(address), "a page that comes up", STARTING_SECONDS)
        yield address


def _up(address: str) -> bool:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/_stcore/health"):
        return True
    return False


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    """A command of the lab in a process of its own, ended as Ctrl-C ends it."""
    command = [sys.executable, "-m", "lab.cli", *arguments]
    quiet = subprocess.DEVNULL
    home = Path(lab.__file__).resolve().parents[1]
    process = subprocess.Popen(command, cwd=home, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            # With what it has started: a server would go on alone.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def server_process(address: str) -> psutil.Process:
    """The process that serves `address`.

    Raises:
        StoreError: there is none.
    """
    port = f"--server.port={address.rsplit(':', 1)[1]}"
    for process in psutil.process_iter(["cmdline"]):
        if port in (process.info["cmdline"] or []):
            return process
    raise StoreError(f"a page at {address}", "no process that serves it", "try again")


def processor_seconds(process: psutil.Process) -> float:
    """Seconds of the processor that a process has used since it began."""
    return float(sum(process.cpu_times()[:2]))


def find_playwright() -> Callable[[], Any]:
    """What starts Playwright.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise missing_extra("dev", "driving the browser", "playwright") from error
    return sync_playwright


def find_chromium(path: str) -> str:
    """The browser at `path`; for an empty one the first Chromium on PATH.

    Raises:
        ConfigError: there is none.
    """
    found = path or next((place for name in CHROMIUM_NAMES if (place := shutil.which(name))), "")
    if not found or not Path(found).is_file():
        raise ConfigError(
            "a Chromium browser", path or f"none of {', '.join(CHROMIUM_NAMES)} on PATH", "give --chromium"
        )
    return found
