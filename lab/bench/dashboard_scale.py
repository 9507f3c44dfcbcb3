"""What a long run and many runs cost the page: time to the first picture, processor time and bytes of a tick, listing.

The long run is made up and goes on while it is watched. A tick begins when the browser asks for it; what comes over the
web socket until the next one belongs to it. Its server time is the processor time of the server's process, all threads,
over the window, by the number of ticks: other programs of the machine do not touch it. The time from the request to the
last frame is told beside it.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.base import StoreError
from lab.bench.made_up import CONFIG, MadeUpRun
from lab.bench.page import CHART, NUMBERS, STARTING_SECONDS, processor_seconds, serve_page, server_process
from lab.bench.settings import DashboardBench
from lab.store import RunWriter, list_runs

NAME = "long"
RATE = 20.0
"""Steps that the long run writes in a second while it is watched."""
MUTATION_SECONDS = 1.0
"""Between two mutations in the window of ticks in which everything is drawn anew."""
SETTLE = 15.0
"""Seconds before a window of ticks, once the page has read the whole run."""
READING = "document.body.innerText.includes('Reading a long run')"
"""What the page says until then."""
LEAST_BYTES = 1_000
"""Of a tick: what is smaller answers a heartbeat."""
WATCH = """
  window.painted = {};
  const wanted = { numbers: "%s", chart: "%s" };
  const look = () => {
    for (const [name, selector] of Object.entries(wanted)) {
      if (!document.querySelector(selector)) continue;
      delete wanted[name];
      // Behind the frame that shows it.
      requestAnimationFrame(() => setTimeout(() => (window.painted[name] = performance.now())));
    }
    if (Object.keys(wanted).length) setTimeout(look, 5);
  };
  look();
"""
"""Tells in the page itself when it has painted what, milliseconds since the navigation."""
AIM = {"paint_s": 2.0, "tick_server_s": 0.060, "tick_bytes": 40_000, "listing_s": 0.3}


@dataclass
class TickLog:
    """The ticks of a page, from its web socket."""

    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        """Listen to all web sockets that the page opens."""
        page.on("websocket", self._listen)

    def clear(self) -> None:
        """Forget what came so far."""
        for each in (self.began, self.ended, self.size):
            each.clear()

    def whole(self) -> list[tuple[float, int]]:
        """Seconds and bytes of each tick between the first request and the last one, which may not be over yet."""
        ticks = zip(self.began, self.ended, self.size, strict=True)
        return [(end - begin, size) for begin, end, size in list(ticks)[:-1] if size >= LEAST_BYTES]

    def _listen(self, socket: Any) -> None:
        socket.on("framesent", lambda data: self._begin())
        socket.on("framereceived", lambda data: self._add(len(data)))

    def _begin(self) -> None:
        for each in (self.began, self.ended):
            each.append(time.time())
        self.size.append(0)

    def _add(self, size: int) -> None:
        if self.size:
            self.ended[-1] = time.time()
            self.size[-1] += size


@contextmanager
def long_run(root: Path, config: DashboardBench) -> Iterator[MadeUpRun]:
    """A long made-up run that has not ended yet."""
    with RunWriter(root, NAME, CONFIG) as writer:
        made = MadeUpRun(writer, config.seed)
        made.write(config.scalars, config.genotypes)
        writer.flush()
        yield made


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Seconds from the navigation to what a person sees first of a run."""

    numbers: float
    """Until its headline numbers stand there."""
    chart: float
    """Until its first chart is drawn."""


def open_page(browser: Any, address: str) -> tuple[Any, TickLog, Paint]:
    """The page at `address` in a context of its own, its ticks, and when it showed what."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    ticks = TickLog()
    ticks.watch(page)
    page.add_init_script(WATCH % (NUMBERS, CHART))
    page.goto(address, timeout=STARTING_SECONDS * 1000)
    page.wait_for_function("window.painted?.chart", timeout=STARTING_SECONDS * 1000)
    painted = page.evaluate("window.painted")
    return page, ticks, Paint(numbers=painted["numbers"] / 1000, chart=painted["chart"] / 1000)


def paint(config: DashboardBench, browser: Any) -> dict[str, Any]:
    """Open a long run on servers that have just started, and once more on each: seconds to numbers and first chart."""
    first: list[Paint] = []
    again: list[Paint] = []
    processor = []
    with tempfile.TemporaryDirectory() as folder, long_run(Path(folder), config) as made:
        for _ in range(config.opens):
            with serve_page(Path(folder)) as address, made.going_on(RATE):
                server = server_process(address)
                before = processor_seconds(server)
                page, _, seen = open_page(browser, f"{address}/?run={NAME}")
                processor.append(processor_seconds(server) - before)
                first.append(seen)
                page.context.close()
                page, _, seen = open_page(browser, f"{address}/?run={NAME}")
                again.append(seen)
                page.context.close()
        scalars = made.scalars
    return {
        "scalars": scalars,
        "genotypes": config.genotypes,
        "first_visit": [asdict(each) for each in first],
        "first_visit_server_s": processor,
        "next_visit": [asdict(each) for each in again],
        "load_average": os.getloadavg()[0],
        "aim_s": AIM["paint_s"],
    }


def ticks(config: DashboardBench, browser: Any) -> dict[str, Any]:
    """Watch the page of a long run that goes on: at first scalars alone come, then a mutation each second as well."""
    found: dict[str, Any] = {"aim": {"server_s": AIM["tick_server_s"], "bytes": AIM["tick_bytes"]}}
    with (
        tempfile.TemporaryDirectory() as folder,
        long_run(Path(folder), config) as made,
        serve_page(Path(folder)) as address,
    ):
        page, log, _ = open_page(browser, f"{address}/?run={NAME}")
        server = server_process(address)
        for name, mutation_seconds in (("scalars", 0.0), ("mutations", MUTATION_SECONDS)):
            with made.going_on(RATE, mutation_seconds):
                page.wait_for_function(f"!{READING}", timeout=STARTING_SECONDS * 1000)
                page.wait_for_timeout(SETTLE * 1000)
                found[name] = watch_ticks(page, log, server, config.seconds)
        page.context.close()
        found["scalars_of_the_run"] = made.scalars
        found["load_average"] = os.getloadavg()[0]
    return found


def watch_ticks(page: Any, log: TickLog, server: Any, seconds: float) -> dict[str, Any]:
    """Ticks of a window: how many, processor time of the server for each, seconds and bytes of each."""
    log.clear()
    before = processor_seconds(server)
    page.wait_for_timeout(seconds * 1000)
    spent, whole = processor_seconds(server) - before, log.whole()
    if not whole:
        raise StoreError("ticks of the page", f"none within {seconds:g} s", "give a longer --seconds")
    size = [each for _, each in whole]
    return {
        "ticks": len(whole),
        # The last one, whose bytes may not have come yet, has cost its time.
        "server_s": spent / (len(whole) + 1),
        "answer_s": statistics.median([each for each, _ in whole]),
        "bytes_median": statistics.median(size),
        "bytes_max": max(size),
    }


def listing(config: DashboardBench, browser: Any) -> dict[str, Any]:
    """List many short runs, as `lab runs` and the page do; and what a tick of the page of runs costs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(config.runs):
            with RunWriter(root, f"run-{number:03d}", CONFIG) as writer:
                MadeUpRun(writer, number).write(1_000, 5)
        seconds = []
        for _ in range(7):
            began = time.perf_counter()
            count = len(list_runs(root))
            seconds.append(time.perf_counter() - began)
        with serve_page(root) as address:
            page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
            log = TickLog()
            log.watch(page)
            page.goto(f"{address}/runs?compare=run-000")
            page.get_by_test_id("stDataFrame").first.wait_for(timeout=STARTING_SECONDS * 1000)
            page.wait_for_timeout(SETTLE * 1000)
            tick = watch_ticks(page, log, server_process(address), 2 * config.seconds)
            page.context.close()
    return {
        "runs": count,
        "list_s": statistics.median(seconds),
        "list_max_s": max(seconds),
        "page_tick": tick,
        "load_average": os.getloadavg()[0],
        "aim_s": AIM["listing_s"],
    }


def scale_rows(parts: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    """What was measured of `paint`, `ticks` and `listing`: what, figure, aim."""
    rows: list[tuple[str, str, str]] = []
    if each := parts.get("paint"):
        server = statistics.median(each["first_visit_server_s"])
        for kind, name in (("numbers", "headline numbers"), ("chart", "first chart")):
            what = f"{each['scalars']:,} scalars, {each['genotypes']:,} genotypes: navigation -> {name}"
            visits = ("first_visit", "next_visit")
            first, again = (statistics.median(one[kind] for one in each[visit]) for visit in visits)
            text = f"{first:.2f} s on a fresh server ({server:.2f} s of its processor time), {again:.2f} s after"
            rows.append((what, text, f"< {each['aim_s']:g} s"))
    if each := parts.get("ticks"):
        aim = f"<= {each['aim']['server_s'] * 1e3:.0f} ms, <= {each['aim']['bytes'] / 1e3:.0f} kB"
        for name, what in (("scalars", "scalars come"), ("mutations", "a mutation comes, too")):
            one = each[name]
            text = f"{one['server_s'] * 1e3:.0f} ms of the server, {one['bytes_median'] / 1e3:.1f} kB"
            rows.append((f"a tick in which {what}", f"{text} (largest {one['bytes_max'] / 1e3:.1f})", aim))
    if each := parts.get("listing"):
        tick = each["page_tick"]["server_s"]
        text = f"{each['list_s']:.3f} s; a tick of the page of runs {tick:.3f} s of the server"
        rows.append((f"{each['runs']} runs listed", text, f"< {each['aim_s']:g} s"))
    return rows
