"""What store and monitor cost: the whole loop against a bare one, epoch by epoch in turn.

Both epochs of a pair draw the same cells and read the same batches; which goes first changes with each pair. What a
checkpoint asks of the store, that all rows are on the disk, is part of the whole loop; the checkpoint's own file and
the page are not.

Two clocks: seconds as they pass, whose median leaves out what other programs of the machine take, and processor seconds
of this process with its writing thread, which they do not touch, over all pairs together.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import ReportTable
from lab.bench.settings import OverheadBench
from lab.datasets import DataConfig
from lab.results import machine
from lab.runs import Parts, RunConfig, build
from lab.store import RunWriter
from lab.train import DeviceConfig, Split, StoreSink, TrainingLoop

RESAMPLES = 2000
"""Draws of pairs from which an interval is taken."""
Cost = tuple[float, float]
"""Seconds that passed, processor seconds."""


def run(config: OverheadBench) -> dict[str, Any]:
    """Time epochs with and without store, monitor and commands, in turn, on the same strategy."""
    search = ASOSEConfig(prior="none", warmup_epochs=2 * config.rounds + 2)
    run_config = RunConfig(
        data=DataConfig(name=config.dataset),
        init_channels=config.channels,
        batch_size=config.batch,
        threads=config.threads,
        search=search,
        devices=DeviceConfig(device="cpu"),
    )
    parts, flushes = build(run_config), list[bool]()
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder), "overhead", {}) as writer:
        loop = TrainingLoop(
            parts.strategy,
            parts.data,
            parts.monitor,
            StoreSink(writer, Path(folder) / "overhead"),
            epochs=run_config.total_epochs,
            save=lambda reason: flushes.append(writer.flush()),
            save_every=config.checkpoint_frequency,
        )
        loop.run_epoch()
        load = os.getloadavg()[0]
        pairs = [_pair(loop, parts, whole_first=number % 2 == 0) for number in range(config.rounds)]
        rows = len(loop.history) * parts.data.length(Split.TRAIN)
    ratios = sorted(whole[0] / bare[0] for whole, bare in pairs)
    whole, bare = (statistics.median(pair[column][0] for pair in pairs) for column in (0, 1))
    processor = np.array([[whole[1], bare[1]] for whole, bare in pairs])
    return {
        "bench": "overhead",
        "config": asdict(config),
        "machine": {**machine(), "load_average": [load, os.getloadavg()[0]]},
        "results": {
            "whole_seconds": whole,
            "bare_seconds": bare,
            "ratio": statistics.median(ratios),
            "ratio_interval": median_interval(ratios),
            "ratio_quartiles": [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]],
            "processor_ratio": float(processor[:, 0].sum() / processor[:, 1].sum()),
            "processor_interval": ratio_interval(processor),
            "pairs": len(pairs),
            "flushes": len(flushes),
            "steps": rows,
            "aim": 1.02,
            "aim_interval": 1.03,
        },
    }


def median_interval(ordered: Sequence[float]) -> list[float]:
    """95 % interval of the median of ordered values, by the binomial distribution of how many lie below it."""
    middle, half = len(ordered) / 2, 0.98 * len(ordered) ** 0.5
    low, high = max(0, int(middle - half)), min(len(ordered) - 1, int(np.ceil(middle + half)))
    return [ordered[low], ordered[high]]


def ratio_interval(pairs: np.ndarray) -> list[float]:
    """95 % interval of sum(whole) / sum(bare) of pairs (P, 2), from pairs drawn with replacement."""
    draws = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    sums = pairs[draws].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    return [float(low), float(high)]


def _pair(loop: TrainingLoop, parts: Parts, *, whole_first: bool) -> tuple[Cost, Cost]:
    """What an epoch with everything and a bare one take."""
    epoch, costs = loop.epoch, {}
    assert isinstance(parts.strategy, ASOSEStrategy)
    generator = parts.strategy.explorer.generator
    draws = generator.get_state()
    for whole in (whole_first, not whole_first):
        generator.set_state(draws)
        began, processor = time.perf_counter(), time.process_time()
        if whole:
            loop.run_epoch()
        else:
            _bare_epoch(parts, epoch)
        costs[whole] = time.perf_counter() - began, time.process_time() - processor
    return costs[True], costs[False]


def _bare_epoch(parts: Parts, epoch: int) -> None:
    """An epoch of the same steps with nobody told."""
    plan = parts.strategy.begin_epoch(epoch, 0, parts.data)
    assert plan is not None
    for x_BCHW, y_B in parts.data.batches(plan.split, epoch):
        parts.strategy.step(x_BCHW, y_B)
    parts.strategy.end_epoch(epoch, parts.data)
    parts.strategy.records.clear()


def summary(result: dict[str, Any]) -> ReportTable:
    """The result in one row."""
    figures = result["results"]
    (low, high), (below, above) = figures["ratio_interval"], figures["processor_interval"]
    row = (
        f"{figures['bare_seconds'] * 1e3:.1f} ms",
        f"{figures['whole_seconds'] * 1e3:.1f} ms",
        f"{figures['ratio']:.4f} ({low:.4f} to {high:.4f})",
        f"{figures['processor_ratio']:.4f} ({below:.4f} to {above:.4f})",
        f"<= {figures['aim']}, interval <= {figures['aim_interval']}",
    )
    columns = ("bare epoch", "with store and monitor", "median of ratios (95 %)", "processor time (95 %)", "aim")
    return ReportTable(title="overhead of store and monitor", columns=columns, rows=(row,))
