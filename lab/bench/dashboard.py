"""How fast the page follows a training, and how fast the training follows the page.

Two latencies, each from one clock of one machine, in a real browser, a real training and the real page, each a process
of its own: from the moment a scalar is written until the page shows its step (every step of the window counts, the
refresh interval included), and from the click on *Mutate now* until the mutation is in the run store.
"""

import bisect
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lab
from lab.base import ConfigError, ReportTable, StoreError, missing_extra
from lab.bench.settings import DashboardBench
from lab.results import machine
from lab.store import RunReader, control, list_runs

HOST = "127.0.0.1"
NAME = "bench"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TRAINING = (
    "--dataset digits --warmup-epochs 1 --arch-training-epochs 1 --weight-training-epochs 4 --total-cycles 200 "
    "--init-channels 8 --batch-size 32 --threads 1 --device cpu --no-save-checkpoints"
)
STARTING_SECONDS = 120.0
END_SECONDS = 30.0
# Notes the first moment at which the page shows each step and each mutation, and the moment of each click.
OBSERVER = """() => {
  const seen = (window.labSeen = { steps: [], mutations: {}, clicks: [] });
  const look = () => {
    const now = Date.now() / 1000;
    for (const card of document.querySelectorAll('[data-testid="stMetric"]')) {
      if (!card.innerText.startsWith("Step")) continue;
      const text = card.querySelector('[data-testid="stMetricValue"]')?.innerText.replaceAll(",", "");
      if (/^[0-9]+$/.test(text) && Number(text) !== seen.steps.at(-1)?.[0]) seen.steps.push([Number(text), now]);
    }
    for (const heading of document.querySelectorAll("h5")) {
      const number = heading.innerText.match(/Mutation ([0-9]+)/)?.[1];
      if (number !== undefined) seen.mutations[number] ??= now;
    }
  };
  look();
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  document.addEventListener("pointerdown", () => seen.clicks.push(Date.now() / 1000), true);
}"""


def run(config: DashboardBench) -> dict[str, Any]:
    """Watch a training in the browser and press the button.

    Raises:
        ConfigError: no Playwright, or no browser.
        StoreError: the training or the page did not come up, or a click was not answered.
    """
    start_browser = find_playwright()
    chromium = find_chromium(config.chromium)
    with (
        tempfile.TemporaryDirectory() as folder,
        _training(Path(folder)) as reader,
        serve_page(Path(folder)) as address,
    ):
        with start_browser() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
            page.goto(f"{address}/?run={NAME}")
            page.wait_for_selector(".lab-chart.js-plotly-plot", timeout=STARTING_SECONDS * 1000)
            page.evaluate(OBSERVER)
            begin, load = time.time(), os.getloadavg()[0]
            page.wait_for_timeout(config.seconds * 1000)
            end, shown = time.time(), page.evaluate("window.labSeen.steps")
            presses = [_press(page, reader) for _ in range(config.clicks)]
            page.wait_for_timeout(3000)
            mutations = page.evaluate("window.labSeen.mutations")
            browser.close()
        rows = reader.scalars(names=("loss",), limit=1_000_000)
        control.send(reader.run_dir, "stop")
    follow = appearance(rows.step, rows.time, shown, begin, end)
    on_page = [
        mutations[str(press["number"])] - press["click"] for press in presses if str(press["number"]) in mutations
    ]
    return {
        "bench": "dashboard",
        "config": asdict(config),
        "machine": {**machine(), "load_average": load},
        "results": {
            "steps_per_second": len(follow) / (end - begin),
            "write_to_page": spread(follow),
            "click_to_mutation": spread([press["mutation"] - press["click"] for press in presses]),
            "click_to_page": spread(on_page),
            "refused_clicks": sum(press["refused"] for press in presses),
            "aim": {"write_to_page_s": 2.0, "click_to_mutation_s": 1.0},
        },
    }


def appearance(
    steps: Sequence[int], times: Sequence[float], shown: Sequence[Sequence[float]], begin: float, end: float
) -> list[float]:
    """Seconds from the writing of each step in the window [begin, end] until the page showed it or a later one.

    Args:
        steps, times: when each step was written, in rising order.
        shown: (step, moment) in the order in which the page showed them.
    """
    known = [int(step) for step, _ in shown]
    found = []
    for step, moment in zip(steps, times, strict=True):
        place = bisect.bisect_left(known, step)
        if begin <= moment <= end and place < len(known):
            found.append(shown[place][1] - moment)
    return found


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th percentile and largest of some seconds."""
    if not seconds:
        raise StoreError("at least one latency", "none", "give a longer --seconds")
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"count": len(ordered), "median_s": statistics.median(ordered), "p95_s": high, "max_s": ordered[-1]}


def summary(result: dict[str, Any]) -> ReportTable:
    """The result, one row for each latency."""
    figures = result["results"]
    aim = figures["aim"]
    titles = {
        "write_to_page": ("scalar written -> shown on the page", f"< {aim['write_to_page_s']:g} s"),
        "click_to_mutation": ("click on Mutate now -> mutation in the store", f"< {aim['click_to_mutation_s']:g} s"),
        "click_to_page": ("click on Mutate now -> shown on the page", ""),
    }
    rows = tuple(
        (
            title,
            *(f"{figures[name][key]:.2f} s" for key in ("median_s", "p95_s", "max_s")),
            str(figures[name]["count"]),
            goal,
        )
        for name, (title, goal) in titles.items()
    )
    note = (
        f"{figures['steps_per_second']:.0f} steps/s, refresh every 1 s, load average "
        f"{result['machine']['load_average']:.1f} on {result['machine']['cores']} cores"
    )
    columns = ("latency", "median", "95 %", "largest", "count", "aim")
    return ReportTable(title="dashboard", columns=columns, rows=rows, notes=(note,))


def _press(page: Any, reader: RunReader) -> dict[str, Any]:
    """Click until a mutation was carried out; its number, the moments of click and mutation, refusals before it."""
    refused = 0
    end = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < end:
        cursor = reader.events().cursor
        page.get_by_role("button", name="Mutate now").click()
        click = page.evaluate("window.labSeen.clicks.at(-1)")
        answer = _wait(partial(_answer, reader, cursor), "an answer to the click", END_SECONDS)
        if answer.payload["done"]:
            events = reader.events(after=cursor, kinds=("mutation",)).events
            made = next(event for event in events if event.payload["status"] == "applied")
            return {"number": made.payload["number"], "click": click, "mutation": made.time, "refused": refused}
        refused += 1
        page.wait_for_timeout(1000)
    raise StoreError("a mutation on request", f"{refused} refusals", "look at the run's control events")


def _answer(reader: RunReader, after: int) -> Any:
    events = reader.events(after=after, kinds=("control",)).events
    return next((event for event in events if event.payload["command"] == "mutate"), None)


def _wait(ask: Callable[[], Any], what: str, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise StoreError(what, f"none within {seconds:g} s", "try again on a quieter machine")


@contextmanager
def _training(root: Path) -> Iterator[RunReader]:
    """A training process with a live network, as long as the block runs."""
    with _process("train", *TRAINING.split(), "--save-dir", str(root), "--name", NAME):
        _wait(lambda: [run for run in list_runs(root) if run.state == "running"], "a training", STARTING_SECONDS)
        reader = RunReader(root / NAME)
        _wait(lambda: _taken(reader), "a live network", STARTING_SECONDS)
        yield reader


def _taken(reader: RunReader) -> bool:
    events = reader.events(kinds=("genotype",)).events
    return any(event.payload["reason"] == "extracted" for event in events)


@contextmanager
def serve_page(root: Path) -> Iterator[str]:
    """The dashboard over `root`, as long as the block runs; gives its address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    address = f"http://{HOST}:{port}"
    with _process("dashboard", "--save-dir", str(root), "--port", str(port), "--no-browser"):
        _wait(lambda: _up(address), "a page that comes up", STARTING_SECONDS)
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


def find_playwright() -> Callable[[], Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise missing_extra("dev", "driving the browser", "playwright") from error
    return sync_playwright


def find_chromium(path: str) -> str:
    found = path or next((place for name in CHROMIUM_NAMES if (place := shutil.which(name))), "")
    if not found or not Path(found).is_file():
        raise ConfigError(
            "a Chromium browser", path or f"none of {', '.join(CHROMIUM_NAMES)} on PATH", "give --chromium"
        )
    return found
