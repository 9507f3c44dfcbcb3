"""A network that ASO-SE evolves against fixed ones, at equal operations and at equal CPU seconds.

The search runs as `lab train` does it. Then, from fresh weights and with as many operations as the search has spent:
its own first cell, never changed (what the prior gave); six 3x3 convolutions of the same width, on the same split and
on every training image; the final cell. And six 3x3 convolutions with as many CPU seconds as the search. So the gain
over six convolutions splits into what the prior's cell gave and what the changes gave.
"""

import statistics
import time
from dataclasses import asdict, replace
from typing import Any

import torch

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.asose.prior import find_prior, scored_images
from lab.base import ReportTable, derive_seed
from lab.datasets import DataConfig
from lab.experiments.compute_settings import EVOLVED_ARMS, EvolvedBench
from lab.experiments.images import fresh_network, image_config, open_images, standard_error, train_for
from lab.monitor import StabilityMonitor
from lab.nn import EvolvableNetwork, SuperNet, six_convolutions
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import epoch_operations
from lab.space import NB201, Genotype
from lab.state import seed_rng
from lab.store import Record
from lab.train import NullSink, OptimizerConfig, StreamData, TrainingLoop, evaluate

UNUSED = 0.01
"""Share of each split that a fixed network does not train on, where it needs nothing held out."""


def run(config: EvolvedBench) -> dict[str, Any]:
    """Every arm on every data set and seed; what is there already is not trained again.

    Raises:
        DataError: a data set cannot be read.
    """
    torch.set_num_threads(config.threads)
    records = Records(config.folder, config.protocol)
    rows: dict[str, list[dict[str, dict[str, Any]]]] = {name: [] for name in config.images}
    with progress_bar(len(config.images) * config.seeds * len(EVOLVED_ARMS)) as bar:
        for name, budget in zip(config.images, config.budgets, strict=True):
            for seed in range(config.first_seed, config.first_seed + config.seeds):
                found: dict[str, dict[str, Any]] = {}
                for arm in EVOLVED_ARMS:
                    key = f"{name}-{budget:g}-{arm}-{seed}"
                    row = records.read(key)
                    if row is None:
                        row = _measure(config, name, budget, seed, arm, found)
                        records.write(key, row)
                    found[arm] = row
                    bar.step(f"{name}, seed {seed}, {arm}: {row['test_accuracy']:.2%}")
                rows[name].append(found)
    return {
        "bench": "evolved",
        "config": {**asdict(config), "cifar": config.cifar and config.cifar.name, "folder": str(config.folder)},
        "machine": machine(),
        "results": {name: _figures(found) for name, found in rows.items()},
    }


def _measure(
    config: EvolvedBench, name: str, budget: float, seed: int, arm: str, found: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    data = image_config(name, data_dir=config.data_dir, cifar=config.cifar, folder=config.folder / "images", seed=seed)
    if arm == "evolved":
        return evolve(config, data, budget * 1e9, seed)
    evolved = found["evolved"]
    cell = {"start": evolved["start"], "final": evolved["cell"]}.get(arm)
    genotype = six_convolutions() if cell is None else Genotype.from_arch_str(cell)
    operations = evolved["operations"]
    if arm == "six_all":
        data = replace(data, train_share=1 - 2 * UNUSED, search_share=UNUSED, selection_share=UNUSED)
    if arm == "six_seconds":
        # As many operations as six convolutions did in a second, for the seconds of the search.
        operations *= evolved["cpu_seconds"] / found["six"]["cpu_seconds"]
    images = open_images(data, config.batch_size)
    network = fresh_network(genotype, images, channels=config.channels, layers=config.layers, seed=seed)
    if arm == "start":
        # The very weights that the search begins with.
        network = EvolvableNetwork.from_supernet(_fresh_supernet(config, images, seed), genotype)
    return train_for(network, images, operations, OptimizerConfig(weight_lr=config.weight_lr))


def evolve(config: EvolvedBench, data: DataConfig, operations: float, seed: int) -> dict[str, Any]:
    """Train with ASO-SE for about `operations`; the test split is read once, at the end."""
    images = open_images(data, config.batch_size)
    bundle, search = images.streams.bundle, ASOSEConfig()
    began = time.process_time()
    prior = find_prior(
        NB201,
        scored_images(images),
        num_classes=bundle.num_classes,
        seed=seed,
        evaluations=search.prior_evaluations,
    )
    prior_seconds = time.process_time() - began
    network = fresh_network(prior.genotype, images, channels=config.channels, layers=config.layers, seed=seed)
    epoch = epoch_operations(network, images.streams, search.reading_share)
    search = search.fitted(max(int(operations / epoch), 1), budgeted=True)
    strategy = ASOSEStrategy(
        _fresh_supernet(config, images, seed),
        search,
        OptimizerConfig(weight_lr=config.weight_lr),
        seed=seed,
        epochs=search.planned_epochs,
        budget=operations,
    )
    strategy.architecture.adopt(prior)
    sink = _Events()
    loop = TrainingLoop(
        strategy,
        images,
        StabilityMonitor(),
        sink,
        epochs=search.planned_epochs,
    )
    began = time.process_time()
    loop.run()
    seconds = time.process_time() - began
    assert strategy.network is not None
    test = evaluate(strategy.network, images.test())
    entropy = strategy.explorer.sample_stats.strength
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "operations": strategy.compute.spent,
        "steps": loop.global_step,
        "epochs": float(loop.epoch),
        "parameters": strategy.summary()["parameters"],
        "cpu_seconds": round(seconds, 2),
        "prior_cpu_seconds": round(prior_seconds, 2),
        "start": prior.genotype.arch_str,
        "cell": strategy.controller.child.genotype.arch_str,
        "mutations": strategy.mutator.counts,
        "entropy": entropy,
        "told": sink.told,
    }


def _fresh_supernet(config: EvolvedBench, images: StreamData, seed: int) -> SuperNet:
    bundle = images.streams.bundle
    seed_rng(derive_seed(seed, "init"))
    return SuperNet(NB201, config.channels, config.layers, bundle.num_classes, bundle.shape[0])


class _Events(NullSink):
    """Keeps what was said of mutations and trials."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def record(self, step: int, record: Record) -> None:
        """Keep an event of a mutation, a trial or an alert."""
        if record.kind in ("mutation", "alert", "trial"):
            kept = {key: value for key, value in asdict(record).items() if key not in ("old", "new")}
            self.told.append({"step": step, "kind": record.kind, **kept})


def _figures(found: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Each arm's accuracies, and its paired difference to the evolved network."""
    result: dict[str, Any] = {}
    for arm in EVOLVED_ARMS:
        values = [row[arm]["test_accuracy"] for row in found]
        behind = [row["evolved"]["test_accuracy"] - row[arm]["test_accuracy"] for row in found]
        result[arm] = {
            "accuracies": values,
            "mean": statistics.mean(values),
            "error": standard_error(values),
            "evolved_ahead": statistics.mean(behind),
            "evolved_ahead_error": standard_error(behind),
            **{
                name: statistics.mean(row[arm][name] for row in found)
                for name in ("operations", "cpu_seconds", "epochs", "parameters")
            },
        }
    gain = [row["start"]["test_accuracy"] - row["six"]["test_accuracy"] for row in found]
    result["prior_gain"] = {"mean": statistics.mean(gain), "error": standard_error(gain)}
    result["cells"] = [[row["evolved"]["start"], row["evolved"]["cell"]] for row in found]
    return result


def summary(result: dict[str, Any]) -> ReportTable:
    """Every arm on every data set, and how far the evolved network is ahead of it."""
    rows = []
    for name, figures in result["results"].items():
        for arm, text in EVOLVED_ARMS.items():
            own = figures[arm]
            ahead = "" if arm == "evolved" else f"{_points(own['evolved_ahead'], own['evolved_ahead_error'])}"
            rows.append(
                (
                    name,
                    text,
                    _points(own["mean"], own["error"]).lstrip("+"),
                    ahead,
                    f"{own['operations'] / 1e9:,.0f}",
                    f"{own['cpu_seconds']:,.0f} s",
                    f"{own['epochs']:.1f}",
                    f"{own['parameters']:,.0f}",
                )
            )
    columns = ("data", "network", "test accuracy, %", "evolved ahead", "GFLOP", "CPU", "epochs", "parameters")
    notes = ("+- is the standard error over seeds, of a difference that of the paired difference",)
    return ReportTable(title="evolved against fixed networks", columns=columns, rows=tuple(rows), notes=notes)


def _points(mean: float, error: float | None) -> str:
    return f"{100 * mean:+.2f}" + ("" if error is None else f" +- {100 * error:.2f}")
