"""ASO-SE itself on the proxy: the strategy of `lab train` through the one training loop, planned to fill a budget."""

import itertools
from typing import Any

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.experiments.one_shot import Found
from lab.experiments.proxy import Proxy
from lab.monitor import MonitorConfig, StabilityMonitor
from lab.results.record import Clock
from lab.search.training import MOMENTUM, WEIGHT_DECAY
from lab.store import AlertEvent, MutationEvent, Record
from lab.train import NullSink, OptimizerConfig, Split, TrainingLoop

EPOCH_LIMIT = 10_000


class _Listener(NullSink):
    """Keeps what the strategy tells about its live cells."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def record(self, step: int, record: Record) -> None:
        """Keep mutations and alerts as JSON data."""
        if isinstance(record, MutationEvent):
            cell = "".join(_digit(primitive) for _, _, primitive in record.new["cells"]["cell"])
            self.events.append({"status": record.status, "cell": cell, "reason": record.reason})
        elif isinstance(record, AlertEvent):
            self.events.append({"status": record.title, "reason": record.text})


def _digit(primitive: str) -> str:
    return str(("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3").index(primitive))


def settings(proxy: Proxy, *, warmup_epochs: int, trial_epochs: int, cycles: int) -> ASOSEConfig:
    """The configuration: fixed before any found cell was looked up, from held-out losses and the literature.

    The mixture trains all primitives evenly; what a primitive is worth is measured by taking it away, because alpha
    says little where BatchNorm has scales of its own; each mutation of the live cell is held against the old cell,
    both trained alike from the same weights.
    """
    return ASOSEConfig(
        prior="none",
        retraining_epochs=0,
        warmup_epochs=warmup_epochs,
        arch_training_epochs=1,
        weight_training_epochs=trial_epochs,
        total_cycles=cycles,
        initial_temp=1.0,
        min_temp=1.0,
        temperature_schedule="constant",
        sampling="mixture",
        allow_none=False,
        selection="perturbation",
        mutation_test="restart",
        mutation_kind="guided",
        mutation_strength=1 / len(proxy.space.edges),
        reject_z=0.0,
    )


def weight_settings(proxy: Proxy) -> OptimizerConfig:
    """The optimizer of the weights, equal to that of the other searches on the proxy."""
    return OptimizerConfig(
        weight_lr=proxy.weight_lr,
        weight_momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        weight_schedule="phase",
        weight_schedule_interval="epoch",
    )


def aso_se(proxy: Proxy, clock: Clock, *, warm_up_share: float, trial_epochs: int) -> Found:
    """The four phases: warm-up for a share of the budget, then cycles until it is spent; the live cell at the end.

    How many epochs fit is measured on the first steps, so that the plan of the phases is known from the start.

    Args:
        warm_up_share: share of the budget that trains the supernet, in (0, 1).
        trial_epochs: epochs that each live cell is trained for before it is compared, >= 1.
    """
    warmup = _affordable_epochs(proxy, warm_up_share * clock.budget, clock)
    config = settings(proxy, warmup_epochs=warmup, trial_epochs=trial_epochs, cycles=EPOCH_LIMIT)
    strategy = ASOSEStrategy(
        proxy.supernet(), config, weight_settings(proxy), seed=proxy.seed, epochs=config.planned_epochs
    )
    listener = _Listener()
    loop = TrainingLoop(
        strategy,
        proxy.data,
        StabilityMonitor(MonitorConfig()),
        listener,
        epochs=config.planned_epochs,
    )
    while not clock.over:
        loop.run_epoch()
    strategy.finish(loop.epoch, proxy.data)
    for record in strategy.records:
        listener.record(loop.global_step, record)
    child = strategy.controller.child
    plan = {"warmup_share": warm_up_share, "trial_epochs": trial_epochs, "sampling": config.sampling}
    details = {
        "plan": plan,
        "warmup_epochs": warmup,
        "epochs": loop.epoch,
        "phase": strategy.phase,
        "events": listener.events,
    }
    return Found(genotype=child.genotype, evaluations=strategy.mutator.counts["applied"] + 1, details=details)


def _affordable_epochs(proxy: Proxy, seconds: float, clock: Clock, steps: int = 3) -> int:
    """Warm-up epochs that fit into `seconds`, judged by a few steps of a supernet that is thrown away."""
    config = settings(proxy, warmup_epochs=1, trial_epochs=1, cycles=1)
    strategy = ASOSEStrategy(proxy.supernet(), config, seed=proxy.seed, epochs=config.planned_epochs)
    strategy.begin_epoch(0, 0, proxy.data)
    batches = proxy.data.batches(Split.TRAIN, 0)
    strategy.step(*next(batches))
    began = clock.used
    for x_BCHW, y_B in itertools.islice(batches, steps):
        strategy.step(x_BCHW, y_B)
    epoch_seconds = (clock.used - began) / steps * proxy.data.length(Split.TRAIN)
    return max(1, round(seconds / epoch_seconds))
