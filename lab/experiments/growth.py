"""Growth while training against the final architecture from scratch, at equal compute.

Grown: the real strategy with one cell that stays (no search, no mutation) and a small network that becomes deeper and
wider between its cycles. Scratch: the architecture that came out, fresh weights, the same optimizer, trained for as
many epochs as the compute of the grown run allows. Start: the architecture that it began with, never grown, for the
same compute. Longer: as scratch, for as many epochs as the grown run had, which costs more.
Compute is counted, not timed: the forward pass of one image by `measure_flops`, times three for forward and backward,
times the images seen; so it holds on any machine.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import ReportTable, derive_seed
from lab.datasets import DataConfig
from lab.experiments.runs_figure import curves_by_seed
from lab.experiments.training_settings import GROWTH_ARMS, GrowthBench
from lab.experiments.weights import draw_again
from lab.nn import Cell, EvolvableNetwork, measure_flops
from lab.nn.flops import FORWARDS_OF_STEP
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import Parts, RunConfig, build
from lab.space import NB201, Genotype
from lab.train import DeviceConfig, NullSink, OptimizerConfig, SupervisedStrategy, TrainingLoop, evaluate

NEVER = 1000
UNUSED = 0.05
"""Share of the architecture parameters, which nothing trains here."""


def run(config: GrowthBench) -> dict[str, Any]:
    """Every arm on every seed; what is there already is not trained again."""
    records = Records(config.folder, settings_of(config))
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in config.arms}
    with progress_bar(config.seeds * len(config.arms)) as bar:
        for seed in range(config.seeds):
            grown = _piece(records, f"grown_{seed}", partial(measure_grown, config, seed))
            for arm in config.arms:
                fixed = partial(measure_fixed, config, grown, arm)
                row = grown if arm == "grown" else _piece(records, f"{arm}_{seed}", fixed)
                rows[arm].append(row)
                bar.step(f"{arm}, seed {seed}: {row['test_accuracy']:.2%}")
    return {
        "bench": "growth",
        "config": {**asdict(config), "folder": str(config.folder)},
        "machine": machine(),
        "results": {**{arm: _figures(found) for arm, found in rows.items()}, "levels": _levels(rows)},
    }


def settings_of(config: GrowthBench) -> dict[str, Any]:
    """What a run's result depends on, beside its seed."""
    # More seeds or arms add records, and the others only say where and how they were computed.
    ignored = ("seeds", "arms", "folder", "data_dir", "threads")
    return {name: value for name, value in asdict(config).items() if name not in ignored}


def _piece(records: Records, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    row = records.read(name)
    if row is None:
        row = make()
        records.write(name, row)
    return row


def _parts(config: GrowthBench, seed: int, epochs: int | None = None) -> tuple[RunConfig, Parts]:
    """Data, and the strategy that grows one cell; nothing is searched and nothing mutates."""
    data = DataConfig(
        name=config.dataset,
        data_dir=config.data_dir,
        train_limit=config.train_limit,
        train_share=1.0 - UNUSED - config.selection_share,
        search_share=UNUSED,
        selection_share=config.selection_share,
    )
    search = ASOSEConfig(
        prior="none",
        retraining_epochs=0,
        warmup_epochs=0,
        arch_training_epochs=0,
        weight_training_epochs=config.cycle_epochs,
        total_cycles=config.cycles,
        mutation_frequency=NEVER,
        allow_none=True,  # what docs/results/growth.json was measured with
        growth=config.growth,
        growth_factor=config.growth_factor,
        growth_units="copies",  # as docs/results/growth.json was measured
    )
    run_config = RunConfig(
        data=data,
        init_channels=config.channels,
        layers=config.layers,
        batch_size=config.batch_size,
        threads=config.threads,
        seed=seed,
        search=search,
        optimizer=_optimizer(config),
        devices=DeviceConfig(device="cpu"),
        epochs=epochs,
    )
    parts = build(run_config)
    assert isinstance(parts.strategy, ASOSEStrategy)
    alpha, genotype = parts.strategy.explorer.alpha, Genotype.from_arch_str(config.cell)
    with torch.no_grad():
        # The cell's primitives become the most probable ones, which is what the selection takes.
        alpha.zero_()
        alpha[torch.arange(len(NB201.edges)), torch.tensor(genotype.indices)] = 1.0
    return run_config, parts


def _optimizer(config: GrowthBench) -> OptimizerConfig:
    """As docs/results/growth.json was measured."""
    return OptimizerConfig(weight_lr=config.weight_lr, weight_schedule_interval="epoch")


def measure_grown(config: GrowthBench, seed: int) -> dict[str, Any]:
    """Train the network that grows; the test split is read once, at the end."""
    run_config, parts = _parts(config, seed)
    strategy = parts.strategy
    assert isinstance(strategy, ASOSEStrategy)
    row = _train(parts, strategy, run_config.total_epochs)
    return {**row, "seed": seed, "plans": list(strategy.state().plans), "mutations": strategy.mutator.counts}


def measure_fixed(config: GrowthBench, grown: dict[str, Any], arm: str) -> dict[str, Any]:
    """Train the first or the last architecture of the `grown` record from fresh weights, to the nearest epoch."""
    seed = grown["seed"]
    _, parts = _parts(config, seed)
    strategy = parts.strategy
    assert isinstance(strategy, ASOSEStrategy)
    # On the supernet, whose size is then that of the last architecture.
    if arm != "start":
        strategy.growth.replay(tuple(grown["plans"]), strategy.live.optimizer)
    network = EvolvableNetwork.from_supernet(strategy.live.supernet, Genotype.from_arch_str(config.cell))
    for module in network.modules():
        if isinstance(module, Cell):
            # A cell that came by growth is handed over gradually; from scratch it counts in full at once.
            module.beta = None
    # Until here the weights are copies of the supernet's.
    draw_again(network, derive_seed(seed, "scratch"))
    affordable = max(1, round(grown["compute"] / _epoch_compute(network, parts)))
    epochs = grown["epochs"] if arm == "longer" else affordable
    row = _train(parts, SupervisedStrategy(network, _optimizer(config), epochs=epochs), epochs)
    return {**row, "seed": seed}


def _train(parts: Parts, strategy: ASOSEStrategy | SupervisedStrategy, epochs: int) -> dict[str, Any]:
    loop = TrainingLoop(strategy, parts.data, parts.monitor, NullSink(), epochs=epochs)
    compute, curve, began = 0.0, [], time.process_time()
    while loop.epoch < epochs and strategy.phase != "finished":
        report = loop.run_epoch()
        network = strategy.network
        if report is None or network is None:
            break
        compute += _epoch_compute(network, parts)
        curve.append([compute, report.decision_accuracy, _parameters(network)])
    strategy.finish(loop.epoch, parts.data)
    seconds, network = time.process_time() - began, strategy.network
    assert network is not None
    test = evaluate(network, parts.data.test())
    return {
        "epochs": loop.epoch,
        "steps": loop.global_step,
        "compute": compute,
        "cpu_seconds": seconds,
        "parameters": _parameters(network),
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "curve": curve,
    }


def _epoch_compute(network: nn.Module, parts: Parts) -> float:
    """Floating-point operations of one epoch on the weights part."""
    stream = parts.streams.train
    images = len(stream) * stream.batch_size
    return float(measure_flops(network, torch.zeros(1, *stream.shape)) * FORWARDS_OF_STEP * images)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [row["test_accuracy"] for row in found]
    return {
        "test_accuracy": statistics.mean(accuracies),
        "test_accuracy_deviation": statistics.stdev(accuracies) if len(found) > 1 else None,
        "accuracies": accuracies,
        "test_loss": statistics.mean(row["test_loss"] for row in found),
        **{name: statistics.mean(row[name] for row in found) for name in ("epochs", "compute", "cpu_seconds")},
        "parameters": [row["curve"][0][2] for row in found[:1]] + [row["parameters"] for row in found[:1]],
        "curves": [[[round(compute / 1e9, 3), accuracy] for compute, accuracy, _ in row["curve"]] for row in found],
    }


def _levels(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Compute (FLOPs, mean over seeds) that each arm needs to reach a decision accuracy; None where a seed does not.

    The highest level is the one that every grown network reaches.
    """
    best = min(max(accuracy for _, accuracy, _ in row["curve"]) for row in rows["grown"])
    # Rounded down: no network falls below the level that it reached.
    levels = [math.floor(1000 * (best - step)) / 1000 for step in (0.1, 0.05, 0.02, 0.01, 0.0)]
    return [{"accuracy": level, **{arm: _reach(found, level) for arm, found in rows.items()}} for level in levels]


def _reach(found: Sequence[dict[str, Any]], level: float) -> float | None:
    firsts = [next((c for c, accuracy, _ in row["curve"] if accuracy >= level), None) for row in found]
    reached = [first for first in firsts if first is not None]
    # A mean over those that got there would favour an arm that often fails.
    return statistics.mean(reached) if len(reached) == len(found) else None


def summary(result: dict[str, Any]) -> ReportTable:
    """Every arm, and what each needs to reach an accuracy."""
    figures = result["results"]
    rows = []
    arms = result["config"]["arms"]
    for arm in arms:
        own = figures[arm]
        deviation = own["test_accuracy_deviation"]
        # One number where nothing grew.
        parameters = sorted(set(own["parameters"]))
        rows.append(
            (
                GROWTH_ARMS[arm],
                f"{own['test_accuracy']:.2%}" + ("" if deviation is None else f" +- {deviation:.2%}"),
                f"{own['test_loss']:.4f}",
                " to ".join(f"{count:,}" for count in parameters),
                f"{own['epochs']:.1f}",
                f"{own['compute'] / 1e12:.2f}",
                f"{own['cpu_seconds']:.0f}",
            )
        )
    notes = []
    for level in figures["levels"]:
        needs = [f"{arm} {'never' if level[arm] is None else f'{level[arm] / 1e12:.2f}'}" for arm in arms]
        notes.append(f"TFLOP to reach {level['accuracy']:.1%} on the selection split: {', '.join(needs)}")
    columns = ("arm", "test accuracy", "test loss", "parameters", "epochs", "TFLOP", "CPU seconds")
    return ReportTable(
        title=f"growth on {result['config']['dataset']}", columns=columns, rows=tuple(rows), notes=tuple(notes)
    )


def figure(result: dict[str, Any]) -> str:
    """Decision accuracy against compute as SVG, a line for each seed."""
    groups = [(arm, result["results"][arm]["curves"]) for arm in result["config"]["arms"]]
    title = f"Growth on {result['config']['dataset']}, {result['config']['seeds']} seeds"
    return curves_by_seed(
        title, groups, x_label="compute, GFLOP (forward and backward, all images)", y_label="decision accuracy"
    )
