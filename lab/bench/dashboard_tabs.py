"""What many tabs on one training take from it: steps a second with and without them, in windows that take turns.

Before each window with them the tabs are opened, and closed behind it: a browser without a screen does not freeze tabs.
Of the tabs of one window one can be seen; the others are told that they are hidden, as the browser tells them, which
one without a screen does not either. All of it runs on one machine: training, server and the browser with its tabs.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.base import StoreError
from lab.bench.page import CHART, NAME, STARTING_SECONDS, live_training, processor_seconds, serve_page, server_process
from lab.bench.settings import DashboardBench
from lab.store import RunReader, control

SETTLE = 15.0
"""Seconds after the tabs were opened or closed, before steps are counted."""
HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => true });"
AIM = 0.05


def measure(config: DashboardBench, browser: Any) -> dict[str, Any]:
    """Let the tabs follow a training, and nothing, in turn.

    Raises:
        StoreError: the training or the page did not come up, or no step was made in a window.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        live_training(Path(folder)) as reader,
        serve_page(Path(folder)) as address,
    ):
        server = server_process(address)
        pairs = []
        for number in range(config.pairs):
            # The order changes, so that a machine that gets slower favours neither.
            order = (True, False) if number % 2 == 0 else (False, True)
            rates = {}
            for on in order:
                context = browser.new_context(viewport={"width": 1400, "height": 1000})
                if on:
                    _open_all(context, address, config)
                time.sleep(SETTLE)
                rates[on] = _window(reader, server, config.seconds)
                context.close()
            pairs.append({"with": rates[True], "without": rates[False]})
        control.send(reader.run_dir, "stop")
    slower = [1.0 - pair["with"]["steps_per_second"] / pair["without"]["steps_per_second"] for pair in pairs]
    return {
        "tabs": config.tabs,
        "seen": config.seen,
        "pairs": pairs,
        "slower": statistics.median(slower),
        "slower_each": slower,
        "load_average": os.getloadavg()[0],
        "aim": AIM,
    }


def _open_all(context: Any, address: str, config: DashboardBench) -> None:
    """Open the tabs on the run, and wait until each has drawn it."""
    tabs = []
    for number in range(config.tabs):
        page = context.new_page()
        if number >= config.seen:
            page.add_init_script(HIDDEN)
        page.goto(f"{address}/?run={NAME}", timeout=STARTING_SECONDS * 1000)
        tabs.append(page)
    for page in tabs:
        page.wait_for_selector(CHART, timeout=STARTING_SECONDS * 1000)


def _window(reader: RunReader, server: Any, seconds: float) -> dict[str, float]:
    """Steps of the training and processor time of the server, each a second, in one window."""
    steps, began, spent = last_step(reader), time.monotonic(), processor_seconds(server)
    time.sleep(seconds)
    passed, made = time.monotonic() - began, last_step(reader) - steps
    if not made:
        raise StoreError("steps of the training", f"none within {seconds:g} s", "give a longer --seconds")
    return {"steps_per_second": made / passed, "server_share": (processor_seconds(server) - spent) / passed}


def last_step(reader: RunReader) -> int:
    """The latest step of the run."""
    return reader.extent()[1]


def tab_rows(parts: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    """What was measured of `tabs`: what, figure, aim."""
    each = parts.get("tabs")
    if each is None:
        return ()
    server = statistics.median(pair["with"]["server_share"] for pair in each["pairs"])
    low, high = min(each["slower_each"]), max(each["slower_each"])
    text = f"{each['slower']:.1%} ({low:.1%} to {high:.1%}); the server takes {server:.0%} of a core"
    what = f"{each['tabs']} tabs, {each['seen']} of them in sight, slow a training by"
    return ((what, text, f"< {each['aim']:.0%}"),)
