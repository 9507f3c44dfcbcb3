"""Is the planned width the right one? Against a ladder of widths, each trained for the whole budget.

Every data set has budgets a factor of 4 apart. Before anything is trained, `plan_run` names a width for each; then it
and the ladder's widths are trained from scratch for the budget, under one cosine. The best width of the ladder is known
in hindsight alone: how far the plan is behind it is what a plan costs.
"""

import statistics
from dataclasses import asdict
from typing import Any

import torch

from lab.base import ReportTable
from lab.experiments.compute_settings import LadderBench
from lab.experiments.images import (
    IMAGES,
    fresh_network,
    image_config,
    open_images,
    standard_error,
    train_for,
)
from lab.nn import six_convolutions
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import Budget, RunConfig, plan_run
from lab.train import DeviceConfig, OptimizerConfig

FACTOR = 4.0
"""Between one budget and the next."""


def run(config: LadderBench) -> dict[str, Any]:
    """Every data set, budget, seed and width; what is there already is not trained again.

    Raises:
        DataError: a data set cannot be read.
    """
    torch.set_num_threads(config.threads)
    records = Records(config.folder, config.protocol)
    settings = [
        (name, base * FACTOR**step)
        for name, base in zip(config.images, config.budgets, strict=True)
        for step in range(config.steps)
    ]
    results: dict[str, Any] = {}
    with progress_bar(len(settings) * config.seeds * (len(config.widths) + 1)) as bar:
        for name, budget in settings:
            rows: list[dict[int, dict[str, Any]]] = []
            planned = planned_width(config, name, budget)
            for seed in range(config.first_seed, config.first_seed + config.seeds):
                found: dict[int, dict[str, Any]] = {}
                for width in sorted({*config.widths, planned}):
                    key = f"{name}-{budget:g}-{width}-{seed}"
                    row = records.read(key)
                    if row is None:
                        row = measure(config, name, budget, width, seed)
                        records.write(key, row)
                    found[width] = row
                    bar.step(f"{name}, {budget:g} GFLOP, {width} channels: {row['test_accuracy']:.2%}")
                rows.append(found)
            results[f"{name}, {budget:g} GFLOP"] = _figures(name, planned, config.widths, rows)
    behind = [own["behind_best"]["mean"] for own in results.values()]
    return {
        "bench": "ladder",
        "config": {**asdict(config), "cifar": config.cifar and config.cifar.name, "folder": str(config.folder)},
        "machine": machine(),
        "results": {"settings": results, "behind_best": statistics.mean(behind), "most_behind": max(behind)},
    }


def planned_width(config: LadderBench, name: str, budget: float) -> int:
    """Channels that a plan gives six 3x3 convolutions for `budget` GFLOP, on the first seed's split."""
    data = image_config(
        name, data_dir=config.data_dir, cifar=config.cifar, folder=config.folder / "images", seed=config.first_seed
    )
    run_config = RunConfig(
        recipe="fixed",
        data=data,
        layers=config.layers,
        batch_size=config.batch_size,
        seed=config.first_seed,
        threads=config.threads,
        devices=DeviceConfig(device="cpu"),
    )
    return plan_run(run_config, Budget(operations=budget * 1e9)).plan.channels


def measure(config: LadderBench, name: str, budget: float, width: int, seed: int) -> dict[str, Any]:
    """Six 3x3 convolutions of `width`, trained for the whole budget."""
    data = image_config(name, data_dir=config.data_dir, cifar=config.cifar, folder=config.folder / "images", seed=seed)
    images = open_images(data, config.batch_size)
    network = fresh_network(six_convolutions(), images, channels=width, layers=config.layers, seed=seed)
    return train_for(network, images, budget * 1e9, OptimizerConfig(weight_lr=config.weight_lr))


def _figures(name: str, planned: int, ladder: tuple[int, ...], rows: list[dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """Mean accuracy of each width, and how far the planned one is behind the ladder's best."""
    accuracies = {width: [row[width]["test_accuracy"] for row in rows] for width in rows[0]}
    best = max(ladder, key=lambda width: statistics.mean(accuracies[width]))
    behind = [other - own for other, own in zip(accuracies[best], accuracies[planned], strict=True)]
    return {
        "images": name,
        "planned": planned,
        "best": best,
        "widths": {
            str(width): {
                "accuracies": values,
                "mean": statistics.mean(values),
                "error": standard_error(values),
                "epochs": statistics.mean(row[width]["epochs"] for row in rows),
                "cpu_seconds": statistics.mean(row[width]["cpu_seconds"] for row in rows),
            }
            for width, values in accuracies.items()
        },
        "behind_best": {"mean": statistics.mean(behind), "error": standard_error(behind)},
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """Planned and best width of each setting."""
    rows = []
    for text, own in result["results"]["settings"].items():
        error = own["behind_best"]["error"]
        rows.append(
            (
                f"{IMAGES[own['images']].text}, {text.rsplit(', ', 1)[1]}",
                *(f"{width}: {100 * own['widths'][str(width)]['mean']:.2f}" for width in (own["planned"], own["best"])),
                f"{100 * own['behind_best']['mean']:+.2f}" + ("" if error is None else f" +- {100 * error:.2f}"),
            )
        )
    notes = (f"behind the best width of the ladder on average: {100 * result['results']['behind_best']:.2f} points",)
    columns = ("setting", "planned channels, accuracy", "best of the ladder", "plan behind, points")
    return ReportTable(title="planned width against a ladder", columns=columns, rows=tuple(rows), notes=notes)
