"""`lab search` and other searches at one budget, judged by tables of true accuracies that none of them sees.

Two spaces: NAS-Bench-201 on a CPU proxy of CIFAR-10, where every method gets the same images, network sizes and CPU
seconds; nb125 on digits by the protocol of its table. What was found is looked up when all searches have ended. A
search that does not beat six 3x3 convolutions (93.76 % on CIFAR-10) has found nothing.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from lab.base import ConfigError, ReportTable
from lab.datasets import DataConfig
from lab.experiments import one_shot
from lab.experiments.asose import aso_se
from lab.experiments.one_shot import Found
from lab.experiments.proxy import Proxy, open_proxy, pooled_data
from lab.experiments.table_settings import ARMS, JUDGES, TABLE_DATASET, SearchBench, TableBench
from lab.experiments.zero_cost import local_search
from lab.explore import SCORES
from lab.nn import BASELINES
from lab.results import machine
from lab.results.record import Bar, Clock, Records, progress_bar
from lab.search import Search, SearchConfig
from lab.space import NB125, NB201, Genotype, Space, find_table

Method = Callable[[Proxy, Clock], Found]
SEED_OFFSET = 100
"""Added to the seeds of searches on digits: the table's own trainings have seeds 0 to 2."""


def _climb(name: str) -> Method:
    return lambda proxy, clock: local_search(SCORES[name], proxy, clock)


OTHERS: Mapping[str, Method] = MappingProxyType(
    {
        "random": one_shot.random_search,
        "inherited": one_shot.inherited_ranking,
        "gdas": one_shot.gdas,
        "darts": one_shot.darts,
        **{name: _climb(name) for name in ("parameters", "log_synflow", "naswot")},
    }
)
"""What `lab search` and ASO-SE are held against, by name."""


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
    # Without a prior the proxy's budget pays for no evidence: random search, 3 epochs a cell, is evidence alone there.
    methods = [name for name in config.methods if name != "evidence"]
    records = {"nb201": Records(config.folder, config.protocol)}
    runs = {"nb201": [(name, _seeds(name, config)) for name in methods]}
    if config.digits_arms:
        settings = {"budget": config.digits_budget, **TableBench().protocol}
        records["nb125"] = Records(config.folder / "nb125", settings)
        runs["nb125"] = [(name, _seeds(name, config)) for name in config.digits_arms]
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with progress_bar(sum(count for pairs in runs.values() for _, count in pairs)) as bar:
        for space, pairs in runs.items():
            found[space] = _space_runs(space, pairs, config, records[space], bar)
    return {
        "bench": "search",
        "config": {**asdict(config), "data": config.data.name, "folder": str(config.folder)},
        "machine": machine(),
        "results": {"methods": found, "truth": {space: _look_up(space, found[space]) for space in found}},
    }


def _seeds(method: str, config: SearchBench) -> int:
    """Searches of a method; evidence alone costs as much as the methods that train."""
    return config.seeds if method in ARMS and method != "evidence" else config.method_seeds


def _space_runs(
    space: str, pairs: Sequence[tuple[str, int]], config: SearchBench, records: Records, bar: Bar
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {method: [] for method, _ in pairs}
    # Seed by seed: a call that is stopped leaves all methods with about as many.
    for seed in range(max((count for _, count in pairs), default=0)):
        for method, count in pairs:
            if seed >= count:
                continue
            name = f"{method}-seed{seed}"
            piece = records.read(name)
            if piece is None:
                piece = _search(space, method, seed, config)
                records.write(name, piece)
            found[method].append(piece)
            bar.step(f"{space} seed {seed} {method}")
    return found


def _search(space: str, method: str, seed: int, config: SearchBench) -> dict[str, Any]:
    assert config.data is not None
    clock = Clock(config.budget)
    if method in ARMS:
        result = _arm(space, method, seed, config, config.data)
    else:
        proxy = open_proxy(
            config.data,
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
        "cell": _digits(result.genotype),
        "cpu_seconds": round(clock.used, 2),
        "evaluations": result.evaluations,
        "details": result.details,
    }


def _arm(space: str, name: str, seed: int, config: SearchBench, path: Path) -> Found:
    """`lab search` with what the arm changes; what the product is by default is left as it is."""
    if space == "nb201":
        data, budget = pooled_data(path, config.folder, seed), config.budget
    else:
        table = TableBench()
        seed, budget = SEED_OFFSET + seed, config.digits_budget
        data = DataConfig(
            name=TABLE_DATASET,
            seed=seed,
            train_share=table.train_share,
            search_share=0.1,
            selection_share=0.9 - table.train_share,
        )
    settings = SearchConfig(
        space=space,
        data=data,
        budget=budget,
        seed=seed,
        channels=config.channels,
        layers=config.layers,
        **ARMS[name],
    )
    report = Search(settings).run()
    details = {
        "best": {key: report.best[key] for key in ("score", "scores", "loss")},
        "preferred_to": [[row["why"], row["differs"], row["score"], row["loss"]] for row in report.preferred_to],
        "trainings": report.trainings,
        "evidence": report.evidence,
        "rungs": report.rungs,
    }
    return Found(genotype=report.genotype, evaluations=report.evaluations, details=details)


def _digits(genotype: Genotype) -> str:
    return "".join(map(str, genotype.indices))


def _cell(space: Space, text: str) -> Genotype:
    """The cell of a piece; those of former versions have NAS-Bench-201's notation."""
    return Genotype.from_indices(space, map(int, text)) if text.isdecimal() else Genotype.from_arch_str(text)


def _look_up(space: str, found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """True accuracy, rank and regret of each found cell, of the baseline and of a random one; empty without a table."""
    place = {"nb201": NB201, "nb125": NB125}[space]
    truth = find_table(place)
    if truth is None:
        return {}
    choices = product(range(len(place.primitives)), repeat=len(place.edges))
    every = [Genotype.from_indices(place, cell) for cell in choices]
    columns = JUDGES[space]
    best = {name: max(truth.query(cell, column) for cell in every) for name, column in columns.items()}

    def facts(cell: Genotype) -> dict[str, Any]:
        row: dict[str, Any] = {"cell": _digits(cell)}
        for name, column in columns.items():
            row[name] = truth.query(cell, column)
            row[f"{name} rank"] = truth.rank(cell, column)
            row[f"{name} regret"] = best[name] - row[name]
        return row

    return {
        "methods": {name: [facts(_cell(place, piece["cell"])) for piece in rows] for name, rows in found.items()},
        "baseline": facts(BASELINES[place]),
        "random": {
            name: statistics.fmean(truth.query(cell, column) for cell in every) for name, column in columns.items()
        },
        "optimum": best,
        "cells": len(every),
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """Mean and standard error of the true accuracies and of the regret, ranks, CPU seconds, cells."""
    rows: list[tuple[str, ...]] = []
    judged = True
    for space, methods in result["results"]["methods"].items():
        truth = result["results"]["truth"][space]
        judged = bool(truth) if space == NB201.name else judged
        for method, pieces in methods.items():
            facts = truth["methods"][method] if truth else []
            seconds = [piece["cpu_seconds"] for piece in pieces]
            cells = sorted({_digits(_cell({"nb201": NB201, "nb125": NB125}[space], p["cell"])) for p in pieces})
            rows.append(
                (
                    f"{space} {method}",
                    ", ".join(f"{name} {_mean(facts, name)}" for name in JUDGES[space]),
                    ", ".join(_mean(facts, f"{name} regret") for name in JUDGES[space]),
                    f"{statistics.fmean(seconds):.1f} s, at most {max(seconds):.1f}",
                    str(len(pieces)),
                    ", ".join(cells),
                )
            )
        if truth:
            base = truth["baseline"]
            rows.append((f"{space} all 3x3", *_fixed(base, JUDGES[space], truth), "-", "-", base["cell"]))
            rows.append((f"{space} a random cell", *_fixed(truth["random"], JUDGES[space], truth), "-", "-", "-"))
    notes = ["cells: primitives of 1<-0, 2<-0, 2<-1, 3<-0, ...; 0 none, 1 skip, 2 1x1, 3 3x3, 4 average pool"]
    if not judged:
        notes.append(
            "no table: point LAB_NAS_TABLES at the folder of nas_bench_201.csv to see what the cells are worth"
        )
    columns = ("method", "test accuracy, %", "regret", "CPU", "seeds", "cells")
    return ReportTable(title="found cells, by the tables", columns=columns, rows=tuple(rows), notes=tuple(notes))


def _fixed(row: Mapping[str, float], columns: Mapping[str, str], truth: Mapping[str, Any]) -> tuple[str, str]:
    values = ", ".join(f"{name} {row[name]:.2f}" for name in columns)
    return values, ", ".join(f"{truth['optimum'][name] - row[name]:.2f}" for name in columns)


def _mean(facts: list[dict[str, Any]], column: str) -> str:
    values = [fact[column] for fact in facts]
    if not values:
        return "-"
    error = f" +- {statistics.stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{error}"
