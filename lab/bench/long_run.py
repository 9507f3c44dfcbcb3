"""What a long run costs the page: time to the first plot, bytes handed to the browser, memory of the server.

The run is written once, through the real writer, and has ended; a real browser opens it on the real page. The bytes are
those of the frames of the page's web socket, which carries all that is drawn, and once the code that draws (4.8 MB).
The server's processor seconds count from its start, so that other programs of the machine do not touch them.
"""

import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from lab.base import ReportTable, StoreError
from lab.bench.dashboard import STARTING_SECONDS, find_chromium, find_playwright, serve_page
from lab.bench.settings import LongRunBench
from lab.results import machine
from lab.space import NB201, Genotype, sample
from lab.store import GenotypeEvent, MutationEvent, PhaseEvent, RunWriter

NAME = "long"
NAMES = ("loss", "accuracy", "grad_norm", "lr", "health", "temperature", "beta", "throughput", "memory/rss")
"""Scalars of each step; the selection split's come with each genotype."""


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
            page.wait_for_selector(".lab-chart.js-plotly-plot", timeout=STARTING_SECONDS * 1000)
            first, processor = time.time() - began, sum(_server(address).cpu_times()[:2])
            handed_first = sum(size for _, size in frames)
            page.wait_for_timeout(config.settle * 1000)
            settled, moment = sum(size for _, size in frames), time.time()
            page.wait_for_timeout(config.watch * 1000)
            standing = sum(size for at, size in frames if at > moment)
            memory = int(_server(address).memory_info().rss)
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
    draw = random.Random(config.seed)
    steps = config.scalars // len(NAMES)
    every = max(1, steps // config.genotypes)
    genotype, count, number = sample(NB201, draw), 0, 0
    with RunWriter(root, NAME, {"dataset_title": "made up", "synthetic": True, "recipe": "aso-se"}) as writer:
        writer.record(0, PhaseEvent(phase="weight_retraining", epoch=0, epochs=1, cycle=0))
        for step in range(steps):
            values = {name: draw.random() + 2.0 / (1.0 + step / 1000.0) for name in NAMES}
            writer.scalars(step, values)
            count += len(values)
            if step % every == 0 and number < config.genotypes:
                number += 1
                changed = sample(NB201, draw)
                writer.record(step, _mutation(number, genotype, changed))
                writer.record(step, _snapshot(changed, draw))
                writer.scalars(step, {"decision/loss": draw.random(), "decision/accuracy": draw.random()})
                genotype, count = changed, count + 2
    return count


def _mutation(number: int, old: Genotype, new: Genotype) -> MutationEvent:
    return MutationEvent(
        number=number,
        status="applied",
        old=old.to_json(),
        new=new.to_json(),
        edits=[[*edit.edge, edit.old, edit.new] for edit in old.diff(new)],
        difference=2e-7,
        requested="schedule",
        reason="made up for a measurement",
    )


def _snapshot(genotype: Genotype, draw: random.Random) -> GenotypeEvent:
    shares = [[draw.random() for _ in NB201.primitives] for _ in NB201.edges]
    return GenotypeEvent(
        genotype=genotype.to_json(),
        argmax_genotype=genotype.to_json(),
        edges=[list(edge) for edge in NB201.edges],
        primitives=list(NB201.primitives),
        probabilities=[[share / sum(row) for share in row] for row in shares],
        entropy=[1.2] * len(NB201.edges),
        skip_share=0.0,
        dominance=0.3,
        reason="mutation",
    )


def _size(data: str | bytes) -> tuple[float, int]:
    return time.time(), len(data)


def _server(address: str) -> psutil.Process:
    """The process that serves `address`.

    Raises:
        StoreError: there is none.
    """
    port = f"--server.port={address.rsplit(':', 1)[1]}"
    for process in psutil.process_iter(["cmdline"]):
        if port in (process.info["cmdline"] or []):
            return process
    raise StoreError(f"a page at {address}", "no process that serves it", "try again")


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
