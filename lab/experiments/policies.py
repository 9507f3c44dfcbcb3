"""The evolution agent on a live network against random actions, a growth schedule and no change, at equal compute.

Every policy starts from the same fresh network and ends when it has spent the same number of floating-point operations;
trials, control copies and evaluations count. So a change pays only if it gains more than its trial cost. The learning
rate follows the compute that is spent.
"""

import statistics
import time
from dataclasses import asdict
from typing import Any

from lab.agent import AgentStrategy, EvolveConfig
from lab.base import ReportTable
from lab.datasets import DataConfig
from lab.experiments.training_settings import POLICIES, EvolveBench
from lab.nn.flops import FORWARDS_OF_STEP
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import RunConfig, build
from lab.store import ActionEvent, Record
from lab.train import DeviceConfig, NullSink, OptimizerConfig, TrainingLoop, evaluate

MOST_EPOCHS = 1000


def run(config: EvolveBench) -> dict[str, Any]:
    """Every policy on every seed; what is there already is not trained again."""
    ignored = ("seeds", "first_seed", "policies", "folder", "data_dir", "threads")
    settings = {name: value for name, value in asdict(config).items() if name not in ignored}
    # Earlier pieces held the learning rate over each epoch, and their agent took its network as it was.
    records = Records(config.folder, {**settings, "rate_interval": "step", "fit_compute": True})
    rows: dict[str, list[dict[str, Any]]] = {policy: [] for policy in config.policies}
    with progress_bar(config.seeds * len(config.policies)) as bar:
        for seed in range(config.first_seed, config.first_seed + config.seeds):
            for policy in config.policies:
                row = records.read(f"{policy}_{seed}")
                if row is None:
                    row = measure(config, policy, seed)
                    records.write(f"{policy}_{seed}", row)
                rows[policy].append(row)
                bar.step(f"{policy}, seed {seed}: {row['test_accuracy']:.2%}")
    return {
        "bench": "evolve",
        "config": {**asdict(config), "folder": str(config.folder)},
        "machine": machine(),
        "results": {policy: _figures(found) for policy, found in rows.items()},
    }


def measure(config: EvolveBench, policy: str, seed: int) -> dict[str, Any]:
    """One run; the test split is read once, at the end."""
    # Built once to be measured: the budget is given in epochs of this very network.
    first = _build(config, policy, seed, compute=None)
    assert isinstance(first.strategy, AgentStrategy)
    images = first.data.length("train") * config.batch_size
    compute = first.strategy.measure_flops(first.data) * FORWARDS_OF_STEP * images * config.start_epochs
    parts = _build(config, policy, seed, compute=compute)
    strategy = parts.strategy
    assert isinstance(strategy, AgentStrategy)
    sink = _Actions()
    loop = TrainingLoop(strategy, parts.data, parts.monitor, sink, epochs=MOST_EPOCHS)
    began, curve = time.process_time(), []
    # Epoch by epoch, since the curve holds the compute spent after each.
    while loop.epoch < MOST_EPOCHS and strategy.phase != "finished":
        report = loop.run_epoch()
        if report is not None:
            curve.append([round(strategy.spent / compute, 4), report.decision_accuracy])
    seconds = time.process_time() - began
    test = evaluate(strategy.network, parts.data.test())
    summary = strategy.summary()
    return {
        "seed": seed,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "epochs": loop.epoch,
        "compute": strategy.spent,
        "budget": compute,
        "cpu_seconds": round(seconds, 1),
        "parameters": summary["parameters"],
        "regret": summary["regret"],
        "actions": sink.events,
        "curve": curve,
    }


def _build(config: EvolveBench, policy: str, seed: int, *, compute: float | None) -> Any:
    return build(
        RunConfig(
            recipe="agent",
            data=DataConfig(name=config.dataset, data_dir=config.data_dir, train_limit=config.train_limit),
            init_channels=config.channels,
            batch_size=config.batch_size,
            threads=config.threads,
            seed=seed,
            epochs=MOST_EPOCHS,
            optimizer=OptimizerConfig(weight_lr=config.weight_lr, weight_schedule="phase"),
            devices=DeviceConfig(device="cpu"),
            evolve=EvolveConfig(
                model=config.model,
                policy="agent" if policy == "unfitted" else policy,
                fit_compute=policy != "unfitted",
                evolve_every=config.evolve_every,
                evolve_actions=config.evolve_actions,
                probe_steps=config.probe_steps,
                trial_share=config.trial_share,
                least_effect=config.least_effect,
                compute=compute,
            ),
        )
    )


class _Actions(NullSink):
    """Keeps what is told of actions."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def record(self, step: int, record: Record) -> None:
        if isinstance(record, ActionEvent):
            names = ("loss_change", "loss_error", "parameters", "changes")
            kept = {name: record.info[name] for name in names if name in record.info}
            self.events.append(
                {
                    "action": record.action,
                    "accepted": record.accepted,
                    "applied": record.applied,
                    "reward": record.reward,
                    **kept,
                }
            )


def _figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [row["test_accuracy"] for row in found]
    tried = [sum(action["applied"] for action in row["actions"]) for row in found]
    kept = [sum(action["accepted"] for action in row["actions"]) for row in found]
    return {
        "test_accuracy": statistics.mean(accuracies),
        "test_accuracy_deviation": statistics.stdev(accuracies),
        "accuracies": accuracies,
        "test_loss": statistics.mean(row["test_loss"] for row in found),
        "parameters": [row["parameters"] for row in found],
        "epochs": statistics.mean(row["epochs"] for row in found),
        "compute": statistics.mean(row["compute"] / row["budget"] for row in found),
        "cpu_seconds": statistics.mean(row["cpu_seconds"] for row in found),
        "tried": statistics.mean(tried),
        "kept": statistics.mean(kept),
        "regret": statistics.mean(row["regret"] for row in found),
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """Every policy."""
    rows = []
    for policy, figures in result["results"].items():
        rows.append(
            (
                POLICIES[policy],
                f"{figures['test_accuracy']:.2%} +- {figures['test_accuracy_deviation']:.2%}",
                f"{figures['test_loss']:.4f}",
                f"{statistics.mean(figures['parameters']):,.0f}",
                f"{figures['kept']:.1f} of {figures['tried']:.1f}",
                f"{figures['epochs']:.1f}",
                f"{figures['compute']:.2f}",
                f"{figures['cpu_seconds']:.0f}",
            )
        )
    columns = ("policy", "test accuracy", "test loss", "parameters", "kept", "epochs", "of the compute", "CPU seconds")
    config = result["config"]
    title = f"{config['model']} evolving on {config['dataset']}, {config['seeds']} seeds, equal compute"
    return ReportTable(title=title, columns=columns, rows=tuple(rows))
