"""Do trials tell the truth, and does deciding by them pay?

First: a cell is trained for a share of the compute; then each of its 24 neighbours, and networks of other widths, take
the steps of a trial in two batch orders, against control copies on the same batches. How often the two orders agree on
the sign of a difference, and how they rank the changes (Spearman), says what a trial is worth. Then: runs that propose
a random neighbour at fixed shares of the compute and keep it by trial, always, or never, at equal compute; everything
that a trial costs counts. The test split is read once, at the end of a run.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from random import Random
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from lab.base import MorphError, ReportTable, derive_seed
from lab.experiments.trial_network import CellChange, TrialNetwork, WidthChange, width_changes
from lab.experiments.trial_settings import TRIAL_ARMS, TRIAL_SETTINGS, TrialBench
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.space import neighbours
from lab.trial import Arm, Estimate, Reading, Trial, TrialConfig, TrialLedger, TrialNoise, TrialTask, estimate

EVERY_CHANGE = 1e6
"""A least effect so large that a trial is made even where it cannot tell: here it is judged, not spared."""
NEVER_TIRED = 10**6


def run(config: TrialBench) -> dict[str, Any]:
    """Every setting, arm and seed; what is there already is not measured again."""
    torch.set_num_threads(config.threads)
    ignored = ("settings", "decided", "arms", "seeds", "first_seed", "folder", "data_dir", "pixels", "threads")
    records = Records(config.folder, {name: value for name, value in asdict(config).items() if name not in ignored})
    tried: dict[str, dict[str, Any]] = {}
    decided: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with progress_bar(len(config.settings) + len(config.decided) * len(config.arms) * config.seeds) as bar:
        for name in config.settings:
            piece = partial(try_neighbours, config, name, config.first_seed)
            tried[name] = _piece(records, f"neighbours_{name}_{config.first_seed}", piece)
            bar.step(f"neighbours on {name}")
        for name in config.decided:
            decided[name] = {arm: [] for arm in config.arms}
            for seed in range(config.first_seed, config.first_seed + config.seeds):
                for arm in config.arms:
                    row = _piece(records, f"{name}_{arm}_{seed}", partial(decide, config, name, arm, seed))
                    decided[name][arm].append(row)
                    bar.step(f"{name}, {arm}, seed {seed}: {row['test_accuracy']:.2%}")
    return {
        "bench": "trials",
        "config": {**asdict(config), "folder": str(config.folder), "pixels": config.pixels and config.pixels.name},
        "machine": machine(),
        "results": {
            "neighbours": {name: _agreement(piece) for name, piece in tried.items()},
            "decided": {name: _compared(rows) for name, rows in decided.items()},
        },
    }


def _piece(records: Records, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    row = records.read(name)
    if row is None:
        began = time.process_time()
        row = {**make(), "cpu_seconds": round(time.process_time() - began, 1)}
        records.write(name, row)
    return row


def _forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    logits_BK: Tensor = model(batch[0])
    return logits_BK


def try_neighbours(config: TrialBench, name: str, seed: int) -> dict[str, Any]:
    """Every neighbour and every width from one network, in two batch orders."""
    network = TrialNetwork(TRIAL_SETTINGS[name], config, seed)
    network.train_until(config.moment)
    trial = TrialConfig(steps=config.steps, looks=1)
    batches = [
        [batch for _, batch in zip(range(config.steps), network.batches(order), strict=False)] for order in (0, 1)
    ]
    changes: list[tuple[str, CellChange | WidthChange]] = [
        (str(cell), CellChange(network, cell, steps=config.steps // 4, number=number))
        for number, cell in enumerate(neighbours(network.genotype))
    ]
    changes += [(f"{change.morph.name} {change.morph.arguments()}", change) for change in width_changes(network)]

    def trained(first: Arm, order: int, change: CellChange | WidthChange | None) -> Reading:
        arm = first.copy()
        for number, batch in enumerate(batches[order]):
            if change is not None:
                change.before_step(arm, number)
            arm.train(network.step, batch, number, trial)
        return arm.read(network.read, _forward, batches[order][-trial.statistics_batches :])

    before = network.read(network.arm.model)
    control_RN = torch.stack([trained(network.arm, order, None).losses_N for order in (0, 1)])
    found: list[tuple[str, bool, Estimate]] = []
    noise = TrialNoise()
    for text, change in changes:
        first = network.arm.copy()
        try:
            change.apply(first)
        except MorphError:
            continue
        changed_RN = torch.stack([trained(first, order, change).losses_N for order in (0, 1)])
        seen = estimate(control_RN, changed_RN, config=trial, noise=noise, error_rate=trial.error_rate)
        found.append((text, isinstance(change, WidthChange), seen))
        noise = noise.observe(seen)
    ledger = TrialLedger(TrialConfig(steps=config.steps, share=config.share), TRIAL_SETTINGS[name].compute)
    forward, sizes = network.flops(network.arm.model), {"batch": network.setting.batch_size, "samples": network.samples}
    return {
        "seed": seed,
        "held_out": network.samples,
        "control_loss": float(control_RN.mean()),
        "changes": [
            {"change": text, "width": wide, "orders": seen.order_means, "low": seen.low, "high": seen.high}
            for text, wide, seen in found
        ],
        "order_noise": math.sqrt(noise.order_squares / noise.order_freedom),
        "pair_ratio": math.sqrt(noise.ratio_squares / noise.trials),
        "refused": ledger.blind(before.losses_N) or ledger.unaffordable(forward, forward, **sizes),
        "cost": ledger.cost(forward, forward, **sizes) / TRIAL_SETTINGS[name].compute,
    }


def decide(config: TrialBench, name: str, arm: str, seed: int) -> dict[str, Any]:
    """One run."""
    network = TrialNetwork(TRIAL_SETTINGS[name], config, seed)
    ledger = TrialLedger(
        TrialConfig(
            steps=config.run_steps,
            share=config.share,
            least_effect=EVERY_CHANGE,
            patience=NEVER_TIRED,
            reading_share=1.0,
        ),
        network.setting.compute,
    )
    events = []
    for number, date in enumerate(config.dates):
        network.train_until(date)
        target = Random(derive_seed(seed, "proposal", number)).choice(neighbours(network.genotype))
        change = CellChange(network, target, steps=config.run_steps // 4, number=number)
        if arm == "always":
            change.apply(network.arm)
            _train_on(network, change)
        elif arm == "trial":
            events.append(_by_trial(network, change, ledger))
    network.train_until(1.0)
    test = _accuracy(network)
    return {
        "seed": seed,
        "test_accuracy": test,
        "compute": network.spent,
        "trials": ledger.spent / network.setting.compute,
        "steps": network.seen,
        "cell": str(network.genotype),
        "events": events,
    }


def _train_on(network: TrialNetwork, change: CellChange) -> None:
    """The steps of a transition without trial."""
    stream = network.batches()
    network.measure()
    for number in range(change.steps):
        change.before_step(network.arm, number)
        batch = next(stream)
        network.step(network.arm, batch)
        network.count(len(batch[1]))
    network.measure()


def _by_trial(network: TrialNetwork, change: CellChange, ledger: TrialLedger) -> dict[str, Any]:
    task = TrialTask(
        step=network.step,
        read=network.read,
        samples=network.samples,
        flops=network.flops,
        forward=_forward,
        before_step=change.before_step,
        remaining=network.setting.compute - network.spent,
    )
    trial = Trial(network.arm, change.apply, task, ledger, batch=network.setting.batch_size, seed=network.seed)
    streams = [network.batches(order) for order in range(ledger.config.orders)]
    while trial.result is None:
        batches = [next(stream) for stream in streams]
        trial.advance(batches)
        network.count(len(batches[0][1]))
    result = trial.result
    network.spent += result.cost
    if result.verdict == "better":
        change.apply(network.arm)
        for number in range(result.steps):
            change.before_step(network.arm, number)
        network.arm.take(trial.adopted)
        network.measure()
    if result.made:
        ledger.record(gained=result.verdict == "better")
    return result.to_dict()


@torch.no_grad()
def _accuracy(network: TrialNetwork) -> float:
    model = network.arm.model.eval()
    hits = [model(x_BCHW).argmax(-1) == y_B for x_BCHW, y_B in network.data.test()]
    return float(torch.cat(hits).double().mean())


def _agreement(piece: dict[str, Any]) -> dict[str, Any]:
    cells = [item for item in piece["changes"] if not item["width"]]
    widths = [item for item in piece["changes"] if item["width"]]
    figures = {"cells": _orders(cells), "widths": _orders(widths)}
    clear = {"better": sum(item["high"] < 0 for item in cells), "worse": sum(item["low"] > 0 for item in cells)}
    kept = ("seed", "held_out", "control_loss", "order_noise", "pair_ratio", "refused", "cost", "cpu_seconds")
    return {**{name: piece[name] for name in kept}, **figures, "clear": clear, "changes": piece["changes"]}


def _orders(items: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if len(items) < 3:
        return None
    pairs = [item["orders"] for item in items]
    return {
        "count": len(items),
        "sign": statistics.mean(one * other > 0 for one, other in pairs),
        "spearman": float(spearmanr(*zip(*pairs, strict=True)).statistic),
        "deviation": statistics.stdev(statistics.mean(pair) for pair in pairs),
    }


def _compared(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each arm's mean and standard error, and paired with the trials where there are any."""
    figures: dict[str, Any] = {}
    for arm, found in rows.items():
        accuracies = [row["test_accuracy"] for row in found]
        figures[arm] = {
            **_mean(accuracies),
            "accuracies": accuracies,
            "cells": [row["cell"] for row in found],
            "compute": statistics.mean(row["compute"] for row in found),
            "trials": statistics.mean(row["trials"] for row in found),
            "cpu_seconds": statistics.mean(row["cpu_seconds"] for row in found),
            "verdicts": [item["verdict"] for row in found for item in row["events"]],
        }
        if "trial" in rows:
            against = [row["test_accuracy"] for row in rows["trial"]]
            figures[arm]["trial_less_this"] = _mean([one - own for one, own in zip(against, accuracies, strict=True)])
    return figures


def _mean(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "error": statistics.stdev(values) / math.sqrt(len(values))}


def summary(result: dict[str, Any]) -> ReportTable:
    """Agreement of the orders on each setting; runs that decided as notes."""
    rows = []
    for name, found in result["results"]["neighbours"].items():
        for kind in ("cells", "widths"):
            own = found[kind]
            if own is not None:
                what = f"{own['count']} {'neighbours' if kind == 'cells' else 'widths'}"
                refused = found["refused"] or "made"
                rows.append(
                    (
                        TRIAL_SETTINGS[name].text,
                        what,
                        f"{found['held_out']}",
                        f"{own['sign']:.0%}",
                        f"{own['spearman']:.2f}",
                        f"{found['order_noise']:.1%}",
                        refused,
                    )
                )
    notes = []
    for name, arms in result["results"]["decided"].items():
        for arm, own in arms.items():
            text = f"{TRIAL_SETTINGS[name].text}: {TRIAL_ARMS[arm]}: {own['mean']:.2%} +- {own['error']:.2%}"
            if arm != "trial" and "trial_less_this" in own:
                paired = own["trial_less_this"]
                text += f"; by trial {paired['mean'] * 100:+.2f} +- {paired['error'] * 100:.2f} points"
            if own["trials"]:
                text += f"; trials {own['trials']:.1%} of the compute, {own['verdicts'].count('better')} kept"
            notes.append(text)
    columns = ("setting", "changes", "held out", "sign agrees", "Spearman", "order noise", "a trial here")
    return ReportTable(title="trials in two batch orders", columns=columns, rows=tuple(rows), notes=tuple(notes))
