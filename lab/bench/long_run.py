"""What a long run costs the page: time to the first plot, bytes handed to the browser, memory of the server.

The run is written once, through the real writer, and has ended; a real browser opens it on the real page. The bytes are
those of the frames of the page's web socket, which carries all that is drawn, and once the code that draws (4.8 MB).
The server's processor seconds count from its start, so that other programs of the machine do not touch them.
"""

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.base import ReportTable
from lab.bench.made_up import CONFIG, MadeUpRun
from lab.bench.page import (
    CHART,
    STARTING_SECONDS,
    find_chromium,
    find_playwright,
    processor_seconds,
    serve_page,
    server_process,
)
from lab.bench.settings import LongRunBench
from lab.results import machine
from lab.store import RunWriter

NAME = "long"


def run(config: LongRunBench) -> dict[str, Any]:
    """Write the run, open its page, watch it.

    Raises:
        ConfigError: no Playwright, or no browser.
        StoreError: the page did not come up.
    """
    start_browser, chromium = find_playwright(), find_chromium(config.chromium)
    with tempfile.TemporaryDirectory() as folder:
        scalars = write_run(Path(folder), config)
        with serve_page(Path(folder)) as address, start_browser() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
            frames: list[tuple[float, int]] = []
            page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(_size(data))))
            began = time.time()
            page.goto(f"{address}/?run={NAME}")
            page.wait_for_selector(CHART, timeout=STARTING_SECONDS * 1000)
            first, processor = time.time() - began, processor_seconds(server_process(address))
            handed_first = sum(size for _, size in frames)
            page.wait_for_timeout(config.settle * 1000)
            settled, moment = sum(size for _, size in frames), time.time()
            page.wait_for_timeout(config.watch * 1000)
            standing = sum(size for at, size in frames if at > moment)
            memory = int(server_process(address).memory_info().rss)
            browser.close()
    return {
        "bench": "long_run",
        "config": asdict(config),
        "machine": machine(),
        "results": {
            "scalars": scalars,
            "genotypes": config.genotypes,
            "first_plot_s": first,
            "first_plot_server_s": processor,
            "first_plot_bytes": handed_first,
            "settled_bytes": settled,
            "standing_bytes_per_s": standing / config.watch,
            "server_memory_bytes": memory,
        },
    }


def write_run(root: Path, config: LongRunBench) -> int:
    """Write the run that the page is to show, made-up numbers; how many scalars it has."""
    with RunWriter(root, NAME, CONFIG) as writer:
        made = MadeUpRun(writer, config.seed)
        made.write(config.scalars, config.genotypes)
    return made.scalars


def _size(data: str | bytes) -> tuple[float, int]:
    return time.time(), len(data)


def summary(result: dict[str, Any]) -> ReportTable:
    """The result in one row."""
    figures = result["results"]
    row = (
        f"{figures['scalars']:,} scalars, {figures['genotypes']:,} genotypes",
        f"{figures['first_plot_s']:.1f} s ({figures['first_plot_server_s']:.1f} s of the server's processor)",
        f"{figures['first_plot_bytes'] / 1e6:.2f} MB",
        f"{figures['settled_bytes'] / 1e6:.2f} MB",
        f"{figures['standing_bytes_per_s'] / 1e3:.1f} kB/s",
        f"{figures['server_memory_bytes'] / 2**20:.0f} MiB",
    )
    columns = ("run", "to the first plot", "bytes until then", "bytes in all", "bytes when it stands", "server")
    return ReportTable(title="a long run on the page", columns=columns, rows=(row,))
