"""What each phase is for: the search with one phase removed, or without its transition, at equal computing time.

Every arm is the real strategy in the one training loop, given the computing time of the whole search: what a removed
phase frees goes to training weights. The plans are fixed numbers of epochs, chosen so that the arms' CPU seconds agree
(`search_of`); a run is then a function of its seed, which one that is stopped by a clock is not. The CPU seconds that
were used stand beside each result.
"""

import statistics
import time
from dataclasses import asdict, replace
from typing import Any

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import ReportTable, derive_seed
from lab.datasets import DataConfig
from lab.experiments.runs_figure import dot_rows
from lab.experiments.training_settings import ABLATION_ARMS, AblationBench
from lab.experiments.weights import draw_again
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import RunConfig, build
from lab.store import MutationEvent
from lab.train import DeviceConfig, NullSink, OptimizerConfig, TrainingLoop, evaluate

NEVER = 1000
"""Cycles between mutations where there are none."""


def run(config: AblationBench) -> dict[str, Any]:
    """Every arm on every seed; what is there already is not trained again."""
    ignored = ("seeds", "arms", "folder", "data_dir", "threads")
    records = Records(config.folder, {name: value for name, value in asdict(config).items() if name not in ignored})
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in config.arms}
    warm = False
    with progress_bar(config.seeds * len(config.arms)) as bar:
        for seed in range(config.seeds):
            for arm in config.arms:
                name = f"{arm}_{seed}"
                row = records.read(name)
                if row is None:
                    if not warm:
                        # The first steps of a process are slower; they would fall on the first arm.
                        measure(replace(config, cycles=1, warmup_epochs=1, weight_training_epochs=1), "whole", seed)
                        warm = True
                    row = measure(config, arm, seed)
                    records.write(name, row)
                rows[arm].append(row)
                bar.step(f"{arm}, seed {seed}: {row['test_accuracy']:.2%}")
    return {
        "bench": "ablation",
        "config": {**asdict(config), "folder": str(config.folder)},
        "machine": machine(),
        "results": {"arms": {arm: _figures(found, rows) for arm, found in rows.items()}},
    }


def search_of(config: AblationBench, arm: str) -> ASOSEConfig:
    """The settings of an arm: what a removed phase frees goes to the retraining, or else to the warmup."""
    warmup, arch_training, retraining = (
        config.warmup_epochs,
        config.arch_training_epochs,
        config.weight_training_epochs,
    )
    if arm == "no_warmup":
        # Warm-up comes once, retraining in each cycle.
        retraining, warmup = retraining + round(warmup / config.cycles), 0
    elif arm == "no_arch_training":
        data = DataConfig()
        # An epoch of arch_training reads the search split, which has fewer images.
        cost = data.search_share / data.train_share
        warmup, arch_training = warmup + round(config.cycles * arch_training * cost), 0
    elif arm == "no_weight_retraining":
        warmup, retraining = warmup + config.cycles * retraining, 0
    return ASOSEConfig(
        prior="none",
        retraining_epochs=0,
        mutation_test="before",
        warmup_epochs=warmup,
        arch_training_epochs=arch_training,
        weight_training_epochs=retraining,
        total_cycles=config.cycles,
        mutation_frequency=NEVER if arm == "no_mutation" else 1,
        preserve_function=arm not in ("swap_at_once", "fresh_child"),
        allow_none=True,  # what every arm had when docs/results/ablation.json was measured
        arch_lr=0.05,
        initial_temp=3.0,
        min_temp=0.3,
    )


def measure(config: AblationBench, arm: str, seed: int) -> dict[str, Any]:
    """One arm on one seed, the test split read once at its end."""
    run_config = RunConfig(
        data=DataConfig(name=config.dataset, data_dir=config.data_dir, train_limit=config.train_limit),
        init_channels=config.channels,
        batch_size=config.batch_size,
        threads=config.threads,
        seed=seed,
        search=search_of(config, arm),
        optimizer=OptimizerConfig(weight_lr=0.05, weight_schedule_interval="epoch"),
        devices=DeviceConfig(device="cpu"),
    )
    parts = build(run_config)
    strategy = parts.strategy
    assert isinstance(strategy, ASOSEStrategy)
    if arm == "fresh_child":
        _draw_again_at_mutations(strategy, seed)
    loop = TrainingLoop(
        strategy,
        parts.data,
        parts.monitor,
        NullSink(),
        epochs=run_config.total_epochs,
    )
    began = time.process_time()
    loop.run()
    seconds = time.process_time() - began
    network = strategy.network
    assert network is not None
    decision, test = evaluate(network, parts.data.selection()), evaluate(network, parts.data.test())
    return {
        "arm": arm,
        "seed": seed,
        "cpu_seconds": seconds,
        "epochs": loop.epoch,
        "steps": loop.global_step,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "decision_accuracy": decision.accuracy,
        "decision_loss": decision.loss,
        "curve": [[row["epoch"], row["decision_accuracy"]] for row in loop.history if row["decision_loss"] is not None],
        **strategy.summary(),
    }


def _draw_again_at_mutations(strategy: ASOSEStrategy, seed: int) -> None:
    """Let every mutation of `strategy` leave a network whose weights are all new, as if it were built from nothing."""
    apply = strategy.mutator.apply

    def apply_and_draw(*arguments: Any, **named: Any) -> MutationEvent:
        event = apply(*arguments, **named)
        assert strategy.live.child is not None
        draw_again(strategy.live.child, derive_seed(seed, "fresh", event.number), strategy.live.optimizer)
        return event

    # B010: by setattr, since mypy refuses an assignment to a method.
    setattr(strategy.mutator, "apply", apply_and_draw)  # noqa: B010


def _figures(found: list[dict[str, Any]], rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Mean and spread over seeds, and the paired difference to the whole search where it was run."""
    accuracies, losses = [row["test_accuracy"] for row in found], [row["test_loss"] for row in found]
    figures = {
        "test_accuracy": statistics.mean(accuracies),
        "test_accuracy_deviation": statistics.stdev(accuracies) if len(found) > 1 else None,
        "test_loss": statistics.mean(losses),
        "cpu_seconds": statistics.mean(row["cpu_seconds"] for row in found),
        "accuracies": accuracies,
        "mutations": {
            name: sum(row["mutations"][name] for row in found) for name in ("applied", "accepted", "rejected")
        },
        # Of a network whose weights are drawn again the strategy measures the change of cell alone.
        "largest_difference": None
        if found[0]["arm"] == "fresh_child"
        else max(row["largest_difference"] for row in found),
    }
    if "whole" in rows:
        # By seed: both runs of a pair have the same splits and initial weights.
        paired = [
            one["test_accuracy"] - other["test_accuracy"] for one, other in zip(found, rows["whole"], strict=True)
        ]
        spread = statistics.stdev(paired) / len(paired) ** 0.5 if len(paired) > 1 else None
        figures |= {"difference": statistics.mean(paired), "difference_error": spread}
    return figures


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each arm."""
    rows = []
    for arm, figures in result["results"]["arms"].items():
        deviation, error = figures["test_accuracy_deviation"], figures.get("difference_error")
        mutations = figures["mutations"]
        rows.append(
            (
                ABLATION_ARMS[arm],
                f"{figures['test_accuracy']:.2%}" + ("" if deviation is None else f" +- {deviation:.2%}"),
                "-" if arm == "whole" or error is None else f"{100 * figures['difference']:+.2f} +- {100 * error:.2f}",
                f"{figures['test_loss']:.4f}",
                f"{mutations['accepted']} of {mutations['applied']}",
                "-" if figures["largest_difference"] is None else f"{figures['largest_difference']:.1e}",
                f"{figures['cpu_seconds']:.1f}",
            )
        )
    columns = (
        "arm",
        "test accuracy",
        "paired difference, points",
        "test loss",
        "mutations kept",
        "largest jump",
        "CPU seconds",
    )
    config = result["config"]
    notes = (f"{config['seeds']} seeds; +- standard deviation over seeds, of a difference its standard error",)
    return ReportTable(title=f"ablation on {config['dataset']}", columns=columns, rows=tuple(rows), notes=notes)


def figure(result: dict[str, Any]) -> str:
    """Test accuracy of every run as SVG, a row for each arm."""
    rows = [(ABLATION_ARMS[arm], figures["accuracies"]) for arm, figures in result["results"]["arms"].items()]
    title = f"Ablation on {result['config']['dataset']}, {result['config']['seeds']} seeds"
    return dot_rows(title, rows, label="test accuracy: a dot is a seed, the stroke their mean")
