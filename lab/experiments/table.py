"""A true table of the lab's own: every cell of `NB125` trained on digits, several seeds each.

The protocol, which the columns' name `digits` stands for: three cells, one a stage, few channels; a small share of the
digits trains the weights, so that the cells differ, and most of the training part validates, so that they can be told
apart; the one training loop with SGD, cosine rate and augmentation. Test accuracies are read once, after the last
epoch.
"""

import csv
import itertools
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lab.base import ReportTable, derive_seed
from lab.datasets import DataConfig, Streams, open_streams
from lab.experiments.table_settings import TABLE_DATASET, TableBench
from lab.monitor import MonitorConfig, StabilityMonitor
from lab.nn import EvolvableNetwork
from lab.results import machine
from lab.results.record import Bar, Records, progress_bar
from lab.space import NB125, Genotype
from lab.train import NullSink, OptimizerConfig, StreamData, SupervisedStrategy, TrainingLoop, evaluate


def run(config: TableBench) -> dict[str, Any]:
    """Train every cell with every seed, one after the other on one thread; go on where an earlier call stopped."""
    torch.set_num_threads(1)
    records = Records(config.folder, config.protocol)
    with progress_bar(config.seeds * config.cells) as bar:
        rows = [_seed_rows(config, records, seed, bar) for seed in range(config.seeds)]
    table = [_summarise(ops, [seed_rows[ops] for seed_rows in rows]) for ops in _cells(config)]
    if config.csv is not None and config.cells == NB125.size:
        _write_csv(config.csv, table)
    return {
        "bench": "table",
        "config": {
            **asdict(config),
            "folder": str(config.folder),
            "csv": None if config.csv is None else str(config.csv),
        },
        "machine": machine(),
        "results": _figures(table, config),
    }


def _cells(config: TableBench) -> list[str]:
    digits = itertools.product(range(len(NB125.primitives)), repeat=len(NB125.edges))
    return ["".join(map(str, choice)) for choice in digits][: config.cells]


def _seed_rows(config: TableBench, records: Records, seed: int, bar: Bar) -> dict[str, Any]:
    name = f"seed{seed}"
    rows: dict[str, Any] = (records.read(name) or {"cells": {}})["cells"]
    streams = open_streams(
        DataConfig(
            name=TABLE_DATASET,
            seed=seed,
            train_share=config.train_share,
            search_share=0.1,
            selection_share=0.9 - config.train_share,
        ),
        batch_size=config.batch_size,
    )
    for ops in _cells(config):
        if ops not in rows:
            rows[ops] = _train(ops, streams, config, seed)
            # After each cell: to write all of them again costs less than to train one.
            records.write(name, {"cells": rows})
        bar.step(f"seed {seed} cell {ops}")
    return rows


def _train(ops: str, streams: Streams, config: TableBench, seed: int) -> dict[str, float]:
    torch.manual_seed(derive_seed(seed, "init", ops))
    network = EvolvableNetwork(
        Genotype(NB125, tuple(NB125.primitives[int(digit)] for digit in ops)),
        channels=config.channels,
        layers=config.layers,
        num_classes=streams.bundle.num_classes,
        in_channels=streams.bundle.shape[0],
    )
    strategy = SupervisedStrategy(
        network, OptimizerConfig(weight_lr=config.weight_lr, weight_schedule_interval="epoch"), epochs=config.epochs
    )
    data = StreamData(streams)
    loop = TrainingLoop(
        strategy,
        data,
        StabilityMonitor(MonitorConfig()),
        NullSink(),
        epochs=config.epochs,
    )
    loop.run()
    test = evaluate(network, data.test())
    return {
        "validation_half": 100 * loop.history[config.epochs // 2 - 1]["decision_accuracy"],
        "validation": 100 * loop.history[-1]["decision_accuracy"],
        "validation_loss": loop.history[-1]["decision_loss"],
        "test": 100 * test.accuracy,
        "test_loss": test.loss,
    }


def _summarise(ops: str, trained: list[dict[str, float]]) -> dict[str, Any]:
    """One row of the table: means over the seeds in percent, and each seed's test accuracy."""
    means = {
        f"{TABLE_DATASET}_{name}": round(statistics.fmean(row[name] for row in trained), 3)
        for name in ("test", "validation", "validation_half")
    }
    return {
        "ops": ops,
        **means,
        **{f"{TABLE_DATASET}_test_seed{i}": round(row["test"], 3) for i, row in enumerate(trained)},
    }


def _write_csv(path: Path, table: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def _figures(table: list[dict[str, Any]], config: TableBench) -> dict[str, Any]:
    test, validation = f"{TABLE_DATASET}_test", f"{TABLE_DATASET}_validation"
    seeds = [[row[f"{test}_seed{seed}"] for seed in range(config.seeds)] for row in table]
    ordered = sorted(table, key=lambda row: -row[test])
    return {
        "cells": len(table),
        "best": ordered[0],
        "worst": ordered[-1],
        "median": statistics.median(row[test] for row in table),
        "seed_deviation": statistics.fmean(map(statistics.stdev, seeds)) if config.seeds > 1 else None,
        "best_by_validation": max(table, key=lambda row: row[validation]),
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """The best cells, the spread, and what the seeds differ by."""
    figures = result["results"]
    test = f"{TABLE_DATASET}_test"
    rows = tuple(
        (label, figures[key]["ops"], f"{figures[key][test]:.2f} %")
        for label, key in (("best", "best"), ("best by validation", "best_by_validation"), ("worst", "worst"))
    )
    notes = [f"{figures['cells']} cells, median {figures['median']:.2f} %"]
    if figures["seed_deviation"] is not None:
        notes.append(f"standard deviation between the seeds of one cell: {figures['seed_deviation']:.2f} points (mean)")
    columns = ("cell", "primitives of edges 1<-0, 2<-0, 2<-1", "digits test accuracy")
    return ReportTable(title="every cell of nb125 on digits", columns=columns, rows=rows, notes=tuple(notes))
