"""`lab demo --replay`: seconds from the command to the recorded run on the screen."""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lab.bench.page import CHART, STARTING_SECONDS, served
from lab.bench.settings import DashboardBench

AIM = 5.0
QUERY = "run=digits&view=wall&step=0&play=1"
"""What `lab demo --replay` opens in a browser."""


def measure(config: DashboardBench, browser: Any) -> dict[str, Any]:
    """Start it `config.opens` times, each time in a process of its own, and open its page as soon as it is served.

    The browser runs already, as a person's does. The chart of the wall is drawn last: by then all of it stands there.
    """
    found = []
    for _ in range(config.opens):
        began = time.monotonic()
        with served("demo", "--replay") as address:
            up = time.monotonic() - began
            page = browser.new_context(viewport={"width": 1920, "height": 1080}).new_page()
            page.goto(f"{address}/?{QUERY}", timeout=STARTING_SECONDS * 1000)
            page.wait_for_selector(CHART, timeout=STARTING_SECONDS * 1000)
            found.append({"served_s": up, "shown_s": time.monotonic() - began})
            page.context.close()
    return {"starts": found, "load_average": os.getloadavg()[0], "aim_s": AIM}


def replay_rows(parts: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    """What was measured of `replay`: what, figure, aim."""
    each = parts.get("replay")
    if each is None:
        return ()
    shown = [start["shown_s"] for start in each["starts"]]
    text = f"{statistics.median(shown):.1f} s ({min(shown):.1f} to {max(shown):.1f})"
    return (("from lab demo --replay to the wall with its chart", text, f"< {each['aim_s']:g} s"),)
