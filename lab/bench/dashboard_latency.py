"""How fast the page follows a training, and how fast the training follows the page.

Two latencies, each from one clock of one machine, in a real browser, a real training and the real page, each a process
of its own: from the moment a scalar is written until the page shows its step (every step of the window counts, the
refresh interval included), and from the click on *Mutate now* until the mutation is in the run store.
"""

import bisect
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lab.base import StoreError
from lab.bench.page import CHART, END_SECONDS, NAME, STARTING_SECONDS, live_training, serve_page, wait_for
from lab.bench.settings import DashboardBench
from lab.store import RunReader, control

AIM = {"write_to_page_s": 2.0, "click_to_mutation_s": 1.0}
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
    for (const heading of document.querySelectorAll("h3, h4, h5")) {
      const number = heading.innerText.match(/Mutation ([0-9]+)/)?.[1];
      if (number !== undefined) seen.mutations[number] ??= now;
    }
  };
  look();
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  document.addEventListener("pointerdown", () => seen.clicks.push(Date.now() / 1000), true);
}"""


def measure(config: DashboardBench, browser: Any) -> dict[str, Any]:
    """Watch a training in the browser and press the button.

    Raises:
        StoreError: the training or the page did not come up, or a click was not answered.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        live_training(Path(folder)) as reader,
        serve_page(Path(folder)) as address,
    ):
        page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        page.goto(f"{address}/?run={NAME}", timeout=STARTING_SECONDS * 1000)
        page.wait_for_selector(CHART, timeout=STARTING_SECONDS * 1000)
        page.evaluate(OBSERVER)
        begin, load = time.time(), os.getloadavg()[0]
        page.wait_for_timeout(config.seconds * 1000)
        end, shown = time.time(), page.evaluate("window.labSeen.steps")
        presses = [_press(page, reader) for _ in range(config.clicks)]
        page.wait_for_timeout(3000)
        mutations = page.evaluate("window.labSeen.mutations")
        page.context.close()
        rows = reader.scalars(names=("loss",), limit=1_000_000)
        control.send(reader.run_dir, "stop")
    follow = appearance(rows.step, rows.time, shown, begin, end)
    on_page = [
        mutations[str(press["number"])] - press["click"] for press in presses if str(press["number"]) in mutations
    ]
    return {
        "load_average": load,
        "steps_per_second": len(follow) / (end - begin),
        "write_to_page": spread(follow),
        "click_to_mutation": spread([press["mutation"] - press["click"] for press in presses]),
        "click_to_page": spread(on_page),
        "refused_clicks": sum(press["refused"] for press in presses),
        "aim": AIM,
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


def _press(page: Any, reader: RunReader) -> dict[str, Any]:
    """Click until a mutation was carried out; its number, the moments of click and mutation, refusals before it."""
    refused = 0
    end = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < end:
        cursor = reader.events().cursor
        page.get_by_role("button", name="Mutate now").click()
        click = page.evaluate("window.labSeen.clicks.at(-1)")
        answer = wait_for(partial(_answer, reader, cursor), "an answer to the click", END_SECONDS)
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


def latency_rows(parts: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    """What was measured of `latency`: what, figure, aim."""
    figures = parts.get("latency")
    if figures is None:
        return ()
    aim = figures["aim"]
    titles = {
        "write_to_page": ("scalar written -> shown on the page", f"< {aim['write_to_page_s']:g} s"),
        "click_to_mutation": ("click on Mutate now -> mutation in the store", f"< {aim['click_to_mutation_s']:g} s"),
        "click_to_page": ("click on Mutate now -> shown on the page", ""),
    }
    return [
        (
            title,
            f"median {figures[name]['median_s']:.2f} s, 95 % {figures[name]['p95_s']:.2f} s, "
            f"largest {figures[name]['max_s']:.2f} s of {figures[name]['count']}",
            goal,
        )
        for name, (title, goal) in titles.items()
    ]
