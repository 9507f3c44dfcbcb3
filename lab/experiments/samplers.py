"""Samplers of `lab tune` beside one another: studies of equally many trials over one space that was fixed beforehand.

A trial trains a small network on digits for a few epochs. It is judged by its accuracy on the selection split; the best
trial of a study, and no other, is read on the test split, once. Trials run one after another in this process, so that a
study follows from its seed: with children in parallel a sampler would know less of the trials before.

NSGA-II draws its first generation of 50 at random, so that in 40 trials it is a second random search.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import optuna
import torch

from lab.base import ReportTable, derive_seed
from lab.experiments.sampler_settings import COMPARED, SamplersBench
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import RunConfig, build
from lab.train import NullSink, StreamData, TrainingLoop, evaluate
from lab.tune import StudyConfig, parse_space
from lab.tune.dimension import field_types, with_settings
from lab.tune.engine import check_grid, grid, make_sampler, suggest

STEPS = (10, 20, 40)
"""Trials after which the best so far is told."""
BASE = "random"
"""Sampler to which the others are compared, seed by seed."""


def run(config: SamplersBench) -> dict[str, Any]:
    """Every study; what is there already is not measured again."""
    torch.set_num_threads(config.threads)
    records = Records(config.folder, config.protocol)
    rows: dict[str, list[dict[str, Any]]] = {sampler: [] for sampler in config.samplers}
    with progress_bar(config.seeds * len(config.samplers)) as bar:
        for seed in range(config.seeds):
            for sampler in config.samplers:
                row = records.read(f"{sampler}_{seed}")
                if row is None:
                    row = measure(config, sampler, seed)
                    records.write(f"{sampler}_{seed}", row)
                rows[sampler].append(row)
                bar.step(f"{sampler}, seed {seed}: {row['test']:.2%}")
    return {
        "bench": "samplers",
        "config": {**asdict(config), "folder": str(config.folder)},
        "machine": machine(),
        "optuna": optuna.__version__,
        "results": {sampler: _figures(config, found, rows.get(BASE, [])) for sampler, found in rows.items()},
    }


def measure(config: SamplersBench, sampler: str, seed: int) -> dict[str, Any]:
    """One study: the selection accuracy of every trial, and the test accuracy of the best one."""
    began = time.process_time()
    base = RunConfig.from_fields(
        recipe="fixed",
        space="nb125",
        layers=1,
        train_limit=config.train_limit,
        epochs=config.epochs,
        seed=derive_seed(seed, "samplers") % 2**31,
        threads=config.threads,
        device="cpu",
    )
    study = StudyConfig(
        name="samplers", dimensions=parse_space(config.search, field_types()), sampler=sampler, pruner="none", seed=seed
    )
    check_grid(study, config.trials)
    points, engine = grid(study), optuna.create_study(direction="maximize", sampler=make_sampler(study, 0))
    accuracies: list[float] = []
    best: tuple[float, RunConfig] | None = None
    for number in range(config.trials):
        if points:
            engine.enqueue_trial(points[number])
        trial = engine.ask()
        settings = with_settings(base, suggest(trial, study.dimensions))
        accuracy = _train(settings).history[-1]["decision_accuracy"]
        engine.tell(trial, accuracy)
        accuracies.append(accuracy)
        if best is None or accuracy > best[0]:
            best = accuracy, settings
    assert best is not None
    # Trained anew to the same bits: no trial before was to be kept.
    loop = _train(best[1])
    return {
        "seed": seed,
        "selection": accuracies,
        "test": _test_accuracy(loop),
        "weight_lr": best[1].optimizer.weight_lr,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def _train(settings: RunConfig) -> TrainingLoop:
    parts = build(settings)
    epochs = settings.total_epochs
    loop = TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        NullSink(),
        epochs=epochs,
    )
    loop.run()
    return loop


def _test_accuracy(loop: TrainingLoop) -> float:
    network, data = loop.strategy.network, loop.data
    assert network is not None
    assert isinstance(data, StreamData)
    return evaluate(network, data.test()).accuracy


def _figures(config: SamplersBench, found: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tests = [row["test"] for row in found]
    best = {str(n): [max(row["selection"][:n]) for row in found] for n in STEPS if n <= config.trials}
    figures: dict[str, Any] = {
        "studies": len(found),
        "test": statistics.mean(tests),
        "test_deviation": statistics.stdev(tests),
        "test_of_study": [round(value, 4) for value in tests],
        "best": {n: statistics.mean(values) for n, values in best.items()},
        "best_deviation": {n: statistics.stdev(values) for n, values in best.items()},
        "weight_lr_of_best": [round(row["weight_lr"], 5) for row in found],
        "cpu_seconds": statistics.mean(row["cpu_seconds"] for row in found),
    }
    if base and base is not found:
        differences = [row["test"] - other["test"] for row, other in zip(found, base, strict=True)]
        figures["ahead_of_random"] = statistics.mean(differences)
        figures["ahead_error"] = statistics.stdev(differences) / len(differences) ** 0.5
    return figures


def summary(result: dict[str, Any]) -> ReportTable:
    """Every sampler."""
    steps = list(next(iter(result["results"].values()))["best"])
    rows = []
    for sampler, figures in result["results"].items():
        ahead = "-"
        if "ahead_of_random" in figures:
            ahead = f"{figures['ahead_of_random'] * 100:+.2f} +- {figures['ahead_error'] * 100:.2f}"
        best = [f"{figures['best'][n]:.2%} +- {figures['best_deviation'][n] * 100:.2f}" for n in steps]
        test = f"{figures['test']:.2%} +- {figures['test_deviation'] * 100:.2f}"
        rows.append((COMPARED[sampler], *best, test, ahead, f"{figures['cpu_seconds']:.0f}"))
    config = result["config"]
    columns = (
        "sampler",
        *(f"best of {n}, selection" for n in steps),
        "best trial, test",
        "ahead of random, points",
        "CPU seconds",
    )
    title = f"digits, {config['trials']} trials of {config['epochs']} epochs, {config['seeds']} studies each"
    return ReportTable(title=title, columns=columns, rows=tuple(rows))
