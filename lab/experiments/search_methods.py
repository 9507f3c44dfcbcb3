"""Searches on a CPU proxy at one budget, judged by a table of true accuracies that none of them sees.

Every method gets the same images, network sizes, batch size, optimizer and CPU seconds; what it finds is looked up
afterwards. A search that does not beat six 3x3 convolutions (93.76 % on CIFAR-10) has found nothing.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from lab.base import ConfigError, ReportTable
from lab.experiments import one_shot, zero_cost
from lab.experiments.asose import aso_se
from lab.experiments.one_shot import Found
from lab.experiments.proxy import Proxy, open_proxy
from lab.experiments.table_settings import SearchBench
from lab.results import machine
from lab.results.record import Clock, Records, progress_bar
from lab.space import NB201, Genotype, find_table
from lab.space import Table as Truth

Method = Callable[[Proxy, Clock], Found]


def _zero_cost(name: str) -> Method:
    return lambda proxy, clock: zero_cost.local_search(zero_cost.SCORES[name], proxy, clock)


OTHERS: Mapping[str, Method] = MappingProxyType(
    {
        "random": one_shot.random_search,
        "inherited": one_shot.inherited_ranking,
        "gdas": one_shot.gdas,
        "darts": one_shot.darts,
        **{name: _zero_cost(name) for name in zero_cost.SCORES},
    }
)
"""What ASO-SE is held against, by name."""


def run(config: SearchBench) -> dict[str, Any]:
    """Every method with every seed, one after the other on one thread; go on where an earlier call stopped.

    Raises:
        ConfigError: no data was given.
        DataError: the data cannot be read.
    """
    if config.data is None:
        raise ConfigError("--data PATH.npz with the images to search on", "none", "give CIFAR-10's original pixels")
    # The budget is CPU seconds, which add up over threads.
    torch.set_num_threads(1)
    records = Records(config.folder, config.protocol)
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in config.methods}
    with progress_bar(len(config.methods) * config.seeds) as bar:
        # Seed by seed: a call that is stopped leaves all methods with about as many.
        for seed in range(config.seeds):
            for method in config.methods:
                name = f"{method}-seed{seed}"
                piece = records.read(name)
                if piece is None:
                    piece = _search(method, seed, config, config.data)
                    records.write(name, piece)
                found[method].append(piece)
                bar.step(f"seed {seed} {method}")
    return {
        "bench": "search",
        "config": {**asdict(config), "data": config.data.name, "folder": str(config.folder)},
        "machine": machine(),
        "results": {"methods": found, "truth": _look_up(found)},
    }


def _search(method: str, seed: int, config: SearchBench, path: Path) -> dict[str, Any]:
    proxy = open_proxy(
        path,
        config.folder,
        space=NB201,
        seed=seed,
        batch_size=config.batch_size,
        channels=config.channels,
        layers=config.layers,
        weight_lr=config.weight_lr,
    )
    # After the data is read: the budget is for the search.
    clock = Clock(config.budget)
    if method == "aso-se":
        result = aso_se(proxy, clock, warm_up_share=config.warm_up_share, trial_epochs=config.trial_epochs)
    else:
        result = OTHERS[method](proxy, clock)
    return {
        "method": method,
        "seed": seed,
        "cell": result.genotype.arch_str,
        "cpu_seconds": round(clock.used, 2),
        "evaluations": result.evaluations,
        "details": result.details,
    }


def _look_up(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """True accuracy and rank of each found cell; nothing where no table is there."""
    truth = find_table(NB201)
    if truth is None:
        return {}
    return {method: [_facts(truth, piece["cell"]) for piece in pieces] for method, pieces in found.items()}


def _facts(truth: Truth, cell: str) -> dict[str, float]:
    genotype = Genotype.from_arch_str(cell)
    return {
        "c10_test200": truth.query(genotype, "c10_test200"),
        "c100_test200": truth.query(genotype, "c100_test200"),
        "c10_rank": truth.rank(genotype, "c10_test200"),
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """Mean and deviation of the true accuracies, best and worst rank, CPU seconds."""
    rows = []
    for method, pieces in result["results"]["methods"].items():
        seconds = statistics.fmean(piece["cpu_seconds"] for piece in pieces)
        facts = result["results"]["truth"].get(method, [])
        shown = [_mean(facts, "c10_test200"), _mean(facts, "c100_test200")]
        ranks = sorted(fact["c10_rank"] for fact in facts)
        shown.append(f"{ranks[0]} to {ranks[-1]}" if ranks else "-")
        rows.append((method, *shown, f"{seconds:.0f} s", ", ".join(sorted({_short(p["cell"]) for p in pieces}))))
    notes = ["cells: primitives of 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2; 0 none, 1 skip, 2 1x1, 3 3x3, 4 average pool"]
    if not result["results"]["truth"]:
        notes.append(
            "no table: point LAB_NAS_TABLES at the folder of nas_bench_201.csv to see what the cells are worth"
        )
    columns = ("method", "CIFAR-10 test", "CIFAR-100 test", "rank of 15,625 (CIFAR-10)", "CPU", "cells")
    return ReportTable(title="found cells, by the table", columns=columns, rows=tuple(rows), notes=tuple(notes))


def _mean(facts: list[dict[str, float]], column: str) -> str:
    values = [fact[column] for fact in facts]
    if not values:
        return "-"
    deviation = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def _short(cell: str) -> str:
    return "".join(map(str, Genotype.from_arch_str(cell).indices))
