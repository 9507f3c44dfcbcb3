"""How accurate is a network at every moment of its training? One that grows by a plan against every fixed width.

All networks are six 3x3 convolutions, trained under one cosine over the whole budget. What grows begins with the
smallest width and takes the next ones at dates that are fixed beforehand: each width has the same share of the
logarithm of the compute, from `SMALLEST` of the budget to all of it. Accuracies are read on the selection split at
moments that lie as far apart on the same scale; their mean is what a person gets who stops at an unknown moment.
Compute is counted, 3 x forward x images; readings are no part of it. B batch, C channels, H height, W width.
"""

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lab.asose.growth import Growth
from lab.base import ReportTable, derive_seed
from lab.experiments.compute_settings import AnytimeBench
from lab.experiments.images import IMAGES, image_config, image_operations, open_images, standard_error
from lab.nn import STAGES, EvolvableNetwork, SuperNet, six_convolutions, train_mode
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.search.training import endless, weight_step
from lab.space import NB201
from lab.state import seed_rng
from lab.train import OptimizerConfig, Split, StreamData, evaluate
from lab.train.optimizer import LearningRate, make_weight_optimizer

GROWN = "grown"
SMALLEST = 1 / 32
"""Share of the budget at which the first reading is taken."""
READINGS = 11
"""From there to the whole budget."""
EXAMPLES = 8
"""Images on which the output before and after a growth is compared."""


def run(config: AnytimeBench) -> dict[str, Any]:
    """Every arm on every seed; what is there already is not trained again.

    Raises:
        DataError: the data set cannot be read.
    """
    torch.set_num_threads(config.threads)
    records = Records(config.folder, config.protocol)
    arms = (GROWN, *map(str, config.widths))
    rows: list[dict[str, dict[str, Any]]] = []
    with progress_bar(config.seeds * len(arms)) as bar:
        for seed in range(config.first_seed, config.first_seed + config.seeds):
            found: dict[str, dict[str, Any]] = {}
            for arm in arms:
                row = records.read(f"{arm}-{seed}")
                if row is None:
                    row = measure(config, arm, seed)
                    records.write(f"{arm}-{seed}", row)
                found[arm] = row
                bar.step(f"{arm}, seed {seed}: {mean_accuracy(row):.2%} on the way, {row['test_accuracy']:.2%}")
            rows.append(found)
    return {
        "bench": "anytime",
        "config": {**asdict(config), "cifar": config.cifar and config.cifar.name, "folder": str(config.folder)},
        "machine": machine(),
        "results": {arm: _figures([found[arm] for found in rows], [found[GROWN] for found in rows]) for arm in arms},
    }


def moments() -> list[float]:
    """Shares of the budget at which accuracies are read, the same factor apart."""
    return [float(SMALLEST ** (1 - number / (READINGS - 1))) for number in range(READINGS)]


def dates(widths: Sequence[int]) -> list[float]:
    """Shares of the budget at which the next of `widths` is taken."""
    return [float(SMALLEST ** (1 - number / len(widths))) for number in range(1, len(widths))]


def measure(config: AnytimeBench, arm: str, seed: int) -> dict[str, Any]:
    """Train one network for the whole budget; the test split is read once, at the end."""
    data = image_config(
        config.images, data_dir=config.data_dir, cifar=config.cifar, folder=config.folder / "images", seed=seed
    )
    images = open_images(data, config.batch_size)
    widths = config.widths if arm == GROWN else (int(arm),)
    bundle = images.streams.bundle
    seed_rng(derive_seed(seed, "init", widths[0]))
    supernet = SuperNet(NB201, widths[0], config.layers, bundle.num_classes, bundle.shape[0])
    network = EvolvableNetwork.from_supernet(supernet, six_convolutions())
    began = time.process_time()
    row = _train(network, supernet, images, config, widths, seed)
    seconds, test = time.process_time() - began, evaluate(network, images.test())
    return {
        **row,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "cpu_seconds": round(seconds, 2),
    }


def _train(
    network: EvolvableNetwork,
    supernet: SuperNet,
    images: StreamData,
    config: AnytimeBench,
    widths: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    settings, budget = OptimizerConfig(weight_lr=config.weight_lr), config.budget * 1e9
    # Of the supernet: the primitives that the network does not use have no gradient and stay as they are.
    optimizer = make_weight_optimizer(
        supernet.parameters(),
        lr=settings.weight_lr,
        momentum=settings.weight_momentum,
        weight_decay=settings.weight_decay,
    )
    growth = Growth(supernet, kinds=("width",), factor=1.5, seed=seed)
    rate = LearningRate(optimizer, settings.weight_lr, 1)
    factors = (wider / width for width, wider in itertools.pairwise(widths))
    coming = list(zip(dates(widths), factors, strict=True))
    due, each = moments(), image_operations(network, images)
    spent, steps, difference, read = 0.0, 0, 0.0, list[list[float]]()
    train_mode(network)
    for x_BCHW, y_B in endless(images, Split.TRAIN):
        if coming and spent >= coming[0][0] * budget:
            difference = widen(growth, network, optimizer, coming.pop(0)[1], x_BCHW[:EXAMPLES])
            each = image_operations(network, images)
        rate.begin(spent / budget)
        weight_step(network, optimizer, x_BCHW, y_B, settings.grad_clip)
        spent, steps = spent + each * len(y_B), steps + 1
        while due and spent >= due[0] * budget:
            read.append([due.pop(0), evaluate(network, images.selection()).accuracy])
            train_mode(network)
        if not due:
            break
    return {"readings": read, "operations": spent, "steps": steps, "largest_difference": difference}


def widen(growth: Growth, child: EvolvableNetwork, optimizer: Optimizer, factor: float, x_BCHW: Tensor) -> float:
    """Make each stage of `child` wider by `factor`; the largest relative difference of the output so far.

    Raises:
        MorphError: a stage cannot be widened exactly.
        TrainingError: the output moved.
    """
    growth.factor = factor
    for _ in range(STAGES):
        growth.grow(child, optimizer, probe_BCHW=x_BCHW, statistics=(), steps=1)
    return growth.largest_difference


def mean_accuracy(row: dict[str, Any]) -> float:
    """Mean accuracy over the logarithm of the compute: the trapezoids between readings that lie equally far apart."""
    values = [accuracy for _, accuracy in row["readings"]]
    return statistics.mean((low + high) / 2 for low, high in itertools.pairwise(values))


def compute_to(row: dict[str, Any], accuracy: float) -> float | None:
    """Share of the budget at which `accuracy` is first reached, on straight lines over the logarithm of the compute;
    None where it never is."""
    readings = row["readings"]
    if readings[0][1] >= accuracy:
        return float(readings[0][0])
    for (early, low), (late, high) in itertools.pairwise(readings):
        if high >= accuracy:
            return float(early * (late / early) ** ((accuracy - low) / (high - low)))
    return None


def _figures(found: list[dict[str, Any]], grown: list[dict[str, Any]]) -> dict[str, Any]:
    """An arm's figures, and how far what grows is ahead of it on the same seeds."""
    means, tests = ([mean_accuracy(row) for row in found], [row["test_accuracy"] for row in found])
    ahead = [mean_accuracy(own) - mean for own, mean in zip(grown, means, strict=True)]
    ahead_at_end = [own["test_accuracy"] - test for own, test in zip(grown, tests, strict=True)]
    shares = [compute_to(own, row["readings"][-1][1]) for own, row in zip(grown, found, strict=True)]
    reached = [share for share in shares if share is not None]
    curves = zip(*(row["readings"] for row in found), strict=True)
    return {
        "mean_accuracy": _spread(means),
        "test_accuracy": _spread(tests),
        "grown_ahead": _spread(ahead),
        "grown_ahead_at_end": _spread(ahead_at_end),
        "compute_to_its_end": {"reached": len(reached), "mean": statistics.mean(reached) if reached else None},
        "curve": [[column[0][0], statistics.mean(accuracy for _, accuracy in column)] for column in curves],
        **{name: statistics.mean(row[name] for row in found) for name in ("operations", "parameters", "cpu_seconds")},
        "largest_difference": max(row["largest_difference"] for row in found),
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"values": list(values), "mean": statistics.mean(values), "error": standard_error(list(values))}


def summary(result: dict[str, Any]) -> ReportTable:
    """Each network's mean accuracy on the way and its accuracy at the end, and how far what grows is ahead."""
    config, figures = result["config"], result["results"]
    rows = [
        (
            "grown, " + " to ".join(map(str, config["widths"])) if arm == GROWN else f"{arm} channels",
            _points(own["mean_accuracy"]).lstrip("+"),
            "" if arm == GROWN else _points(own["grown_ahead"]),
            _points(own["test_accuracy"]).lstrip("+"),
            "" if arm == GROWN else _points(own["grown_ahead_at_end"]),
            "" if arm == GROWN else _share(own["compute_to_its_end"], config["seeds"]),
            f"{own['cpu_seconds']:.0f}",
        )
        for arm, own in figures.items()
    ]
    columns = (
        "network",
        "mean on the way, %",
        "grown ahead, points",
        "test, %",
        "grown ahead, points",
        "compute of grown to its accuracy",
        "CPU s",
    )
    title = f"{IMAGES[config['images']].text}, {config['budget']:g} GFLOP, {config['seeds']} seeds"
    note = f"on the way: selection split, mean over the logarithm of the compute from 1/{1 / SMALLEST:.0f} to all of it"
    return ReportTable(title=title, columns=columns, rows=tuple(rows), notes=(note,))


def _points(own: dict[str, Any]) -> str:
    error = own["error"]
    return f"{100 * own['mean']:+.2f}" + ("" if error is None or math.isnan(error) else f" +- {100 * error:.2f}")


def _share(own: dict[str, Any], seeds: int) -> str:
    if own["mean"] is None:
        return "never"
    return f"{own['mean']:.2f} of its own" + ("" if own["reached"] == seeds else f" ({own['reached']} of {seeds})")
