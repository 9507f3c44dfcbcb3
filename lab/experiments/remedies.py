"""What keeps a search from collapsing: options of exploration on the 125 cells of `NB125`, judged by the lab's table.

One warm-up and one exploration on digits for each option and seed; the first live cell is looked up. The table was
measured with trainings of their own, so no option sees what judges it.
"""

import itertools
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import torch

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import DataError, ReportTable, derive_seed
from lab.datasets import DataConfig, open_streams
from lab.experiments.table_settings import RemediesBench
from lab.monitor import MonitorConfig, StabilityMonitor
from lab.nn import SuperNet
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.space import NB125, Genotype, find_table
from lab.space import Table as Truth
from lab.train import NullSink, OptimizerConfig, StreamData, TrainingLoop

JUDGE = "digits_test"
OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "absent edges drawn": {"allow_none": True},
        "no absent edge": {},
        "beta decay": {"beta_decay": 50.0},
        "skip dropout": {"skip_dropout": 0.3},
        "auxiliary skip": {"auxiliary_skip": 1.0},
        "stop at a skip": {"max_skips": 1},
        "stop when stable": {"stable_epochs": 2},
        "perturbation": {"selection": "perturbation"},
        "mixture": {"sampling": "mixture"},
        "mixture, perturbation": {"sampling": "mixture", "selection": "perturbation"},
    }
)
"""Name -> what it changes in `ASOSEConfig`."""


def run(config: RemediesBench) -> dict[str, Any]:
    """Every option with every seed, one after the other on one thread; go on where an earlier call stopped.

    Raises:
        DataError: the lab's own table is not there.
    """
    truth = find_table(NB125)
    if truth is None:
        raise DataError("the table of nb125", "none", "run lab experiment table --csv data/nb125_digits.csv")
    torch.set_num_threads(1)
    settings = {name: value for name, value in asdict(config).items() if name not in ("seeds", "folder")}
    records = Records(config.folder, settings)
    found: dict[str, list[dict[str, Any]]] = {option: [] for option in OPTIONS}
    with progress_bar(len(OPTIONS) * config.seeds) as bar:
        for seed in range(config.seeds):
            for option, changes in OPTIONS.items():
                name = f"{option.replace(', ', '-').replace(' ', '-')}-seed{seed}"
                piece = records.read(name)
                if piece is None:
                    piece = _search(changes, seed, config, truth)
                    records.write(name, piece)
                found[option].append(piece)
                bar.step(f"seed {seed} {option}")
    return {
        "bench": "remedies",
        "config": {**asdict(config), "folder": str(config.folder)},
        "machine": machine(),
        "results": {"options": found, "optimum": _optimum(truth)},
    }


def _optimum(truth: Truth) -> float:
    cells = itertools.product(NB125.primitives, repeat=len(NB125.edges))
    return max(truth.query(Genotype(NB125, cell), JUDGE) for cell in cells)


def _search(changes: Mapping[str, Any], seed: int, config: RemediesBench, truth: Truth) -> dict[str, Any]:
    began = time.process_time()
    search = ASOSEConfig(
        prior="none",
        retraining_epochs=0,
        warmup_epochs=config.warmup_epochs,
        arch_training_epochs=config.arch_training_epochs,
        # The first live cell is judged by the table; training it would change nothing.
        weight_training_epochs=0,
        total_cycles=1,
        arch_lr=config.arch_lr,
        **changes,
    )
    streams = open_streams(DataConfig(seed=seed), batch_size=config.batch_size)
    torch.manual_seed(derive_seed(seed, "init"))
    supernet = SuperNet(NB125, config.channels, 3, streams.bundle.num_classes, streams.bundle.shape[0])
    epochs = search.planned_epochs
    strategy = ASOSEStrategy(
        supernet, search, OptimizerConfig(weight_lr=0.1, weight_schedule_interval="epoch"), seed=seed, epochs=epochs
    )
    monitor = StabilityMonitor(MonitorConfig())
    data = StreamData(streams)
    loop = TrainingLoop(strategy, data, monitor, NullSink(), epochs=epochs)
    loop.run()
    cell = strategy.controller.child.genotype
    return {
        "cell": "".join(map(str, cell.indices)),
        "test": truth.query(cell, JUDGE),
        "rank": truth.rank(cell, JUDGE),
        "skips": sum(primitive == "skip_connect" for primitive in cell.primitives),
        "absent": sum(primitive == "none" for primitive in cell.primitives),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each option: regret against the table's best cell, ranks, what was chosen."""
    optimum = result["results"]["optimum"]
    rows = []
    for option, pieces in result["results"]["options"].items():
        regrets = [optimum - piece["test"] for piece in pieces]
        deviation = f" +- {statistics.stdev(regrets):.2f}" if len(regrets) > 1 else ""
        rows.append(
            (
                option,
                f"{statistics.fmean(regrets):.2f}{deviation}",
                f"{statistics.median(piece['rank'] for piece in pieces):g}",
                f"{sum(piece['skips'] for piece in pieces)}, {sum(piece['absent'] for piece in pieces)}",
                f"{statistics.fmean(piece['cpu_seconds'] for piece in pieces):.1f} s",
                " ".join(piece["cell"] for piece in pieces),
            )
        )
    columns = ("option", "regret, points", "median rank of 125", "skips, absent edges", "CPU", "cells")
    note = f"optimum {optimum:.2f} % ({JUDGE}); primitives of 1<-0, 2<-0, 2<-1"
    return ReportTable(
        title="options of exploration on the 125 cells", columns=columns, rows=tuple(rows), notes=(note,)
    )
