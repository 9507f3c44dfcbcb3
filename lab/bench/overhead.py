"""What store and monitor cost: the whole loop against a bare one, epoch by epoch in turn.

Both epochs of a pair draw the same cells and read the same batches; which goes first changes with each pair.
"""

import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import ReportTable
from lab.bench.settings import OverheadBench
from lab.datasets import DataConfig
from lab.results import machine
from lab.runs import Parts, RunConfig, build
from lab.store import RunWriter
from lab.train import DeviceConfig, Split, StoreSink, TrainingLoop


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
    parts = build(run_config)
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder), "overhead", {}) as writer:
        loop = TrainingLoop(
            parts.strategy,
            parts.data,
            parts.monitor,
            StoreSink(writer, Path(folder) / "overhead"),
            epochs=run_config.total_epochs,
            save=lambda reason: None,
            save_every=10**6,
        )
        loop.run_epoch()
        pairs = [_pair(loop, parts, whole_first=number % 2 == 0) for number in range(config.rounds)]
        rows = len(loop.history) * parts.data.length(Split.TRAIN)
    ratios = sorted(whole / bare for whole, bare in pairs)
    whole, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "bench": "overhead",
        "config": asdict(config),
        "machine": machine(),
        "results": {
            "whole_seconds": whole,
            "bare_seconds": bare,
            "ratio": statistics.median(ratios),
            "ratio_quartiles": [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]],
            "steps": rows,
            "aim": 1.03,
        },
    }


def _pair(loop: TrainingLoop, parts: Parts, *, whole_first: bool) -> tuple[float, float]:
    """Seconds of an epoch with everything and of a bare one."""
    epoch, seconds = loop.epoch, {}
    assert isinstance(parts.strategy, ASOSEStrategy)
    generator = parts.strategy.explorer.generator
    draws = generator.get_state()
    for whole in (whole_first, not whole_first):
        generator.set_state(draws)
        began = time.perf_counter()
        if whole:
            loop.run_epoch()
        else:
            _bare_epoch(parts, epoch)
        seconds[whole] = time.perf_counter() - began
    return seconds[True], seconds[False]


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
    low, high = figures["ratio_quartiles"]
    row = (
        f"{figures['bare_seconds'] * 1e3:.1f} ms",
        f"{figures['whole_seconds'] * 1e3:.1f} ms",
        f"{figures['ratio']:.4f} ({low:.4f} to {high:.4f})",
        f"<= {figures['aim']}",
    )
    columns = ("bare epoch", "with store and monitor", "median of ratios (quartiles)", "aim")
    return ReportTable(title="overhead of store and monitor", columns=columns, rows=(row,))
