"""`plan_run`: the width and the length of a run that fit a budget, from counted operations and measured steps."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from lab.asose.prior import find_prior, scored_images
from lab.base import derive_seed
from lab.datasets import Streams, open_streams
from lab.explore import Prior
from lab.nn import EvolvableNetwork, measure_flops, parse_cell
from lab.nn.flops import FORWARDS_OF_STEP
from lab.runs.build import run_device, spare_threads
from lab.runs.config import RunConfig
from lab.runs.plan import LEAST_EPOCHS, MOST_EPOCHS, WIDTHS, Budget, Candidate, RunPlan, choose_width
from lab.space import SPACES
from lab.state import preserved_rng
from lab.train import OptimizerConfig, StreamData
from lab.train.optimizer import make_weight_optimizer

TIMED_STEPS = 5
"""Training steps whose median is a width's time, after one that is not timed."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run and why it is as it is."""

    config: RunConfig
    plan: RunPlan
    prior: Prior | None = None
    """What the run's first cell comes from; None of a run that searches nothing, or without a prior."""


def plan_run(config: RunConfig, budget: Budget, *, widths: Sequence[int] = WIDTHS) -> Planned:
    """Choose width, epochs and phases of `config` for `budget`.

    The width is the largest that gets at least `LEAST_EPOCHS` epochs; the run takes as many epochs as the budget pays
    for, at most `MOST_EPOCHS`. Operations are 3 x forward x images, and 1 x for readings, of the prior's cell where
    there is a prior, and of the fixed cell elsewhere. Every random stream is as before afterwards.

    Args:
        config: the run; what a plan does not choose (depth, batch size, rates) is taken from it.
        budget: to be spent.
        widths: channels of the first stage to choose from, at least one.

    Raises:
        LabError: the data or the device cannot be had.
    """
    device = run_device(config)
    streams = open_streams(replace(config.data, seed=config.seed), batch_size=config.batch_size, device=device)
    example = next(streams.train.batches(0))
    samples = len(streams.train) * len(example[0])
    torch.set_num_threads(config.threads or spare_threads())
    space, prior = SPACES[config.space], None
    if config.recipe == "aso-se" and config.search.prior != "none":
        classes = streams.bundle.num_classes
        images = scored_images(StreamData(streams))
        prior = find_prior(
            space, images, num_classes=classes, seed=config.seed, evaluations=config.search.prior_evaluations
        )
    cell = parse_cell(config.fixed_cell, space) if prior is None else prior.genotype
    # A fixed network is read after each epoch.
    reading_share = config.search.reading_share if config.recipe == "aso-se" else 1.0
    candidates: list[Candidate] = []
    with preserved_rng():
        for channels in sorted(widths):
            torch.manual_seed(derive_seed(config.seed, "plan", channels))
            network = EvolvableNetwork(
                cell,
                channels=channels,
                layers=config.layers,
                num_classes=streams.bundle.num_classes,
                in_channels=streams.bundle.shape[0],
            ).to(device)
            operations = epoch_operations(network, streams, reading_share)
            seconds = None
            if budget.seconds is not None:
                seconds = _step_seconds(network, example, config.optimizer) * samples / len(example[0])
            reach = _epochs(budget, operations, seconds)
            candidates.append(Candidate(channels=channels, operations=operations, seconds=seconds, epochs=reach))
            if reach < 1.0 and len(candidates) > 1:
                break
    chosen = choose_width(candidates)
    epochs = max(min(int(chosen.epochs), MOST_EPOCHS), 1)
    spent = budget.operations if budget.operations is not None else chosen.epochs * chosen.operations
    plan = RunPlan(
        operations=spent,
        seconds=budget.seconds,
        samples=samples,
        channels=chosen.channels,
        layers=config.layers,
        epochs=epochs,
        batch_size=config.batch_size,
        candidates=tuple(candidates),
        reasons=_reasons(chosen, candidates, epochs, config),
    )
    search = config.search
    if config.recipe == "aso-se":
        ends = chosen.epochs <= MOST_EPOCHS and config.optimizer.weight_schedule_interval == "step"
        search = search.fitted(epochs, budgeted=ends)
        epochs = search.planned_epochs
    planned = replace(config, init_channels=chosen.channels, epochs=epochs, search=search, budget=spent)
    return Planned(config=planned, plan=plan, prior=prior)


def _epochs(budget: Budget, operations: float, seconds: float | None) -> float:
    """Epochs of so many operations or seconds that the budget pays for."""
    if budget.operations is not None:
        return budget.operations / operations
    assert budget.seconds is not None
    assert seconds is not None
    return budget.seconds / seconds


def epoch_operations(network: nn.Module, streams: Streams, reading_share: float = 1.0) -> float:
    """Floating-point operations of an epoch: 3 x forward x images of the train split, and what is read behind it.

    Args:
        reading_share: the most that readings of the selection split take of the training, >= 0.
    """
    example = next(streams.train.batches(0))[0]
    images = FORWARDS_OF_STEP * len(streams.train) * len(example)
    return float(measure_flops(network, example[:1]) * (images + min(streams.selection.size, reading_share * images)))


def _step_seconds(network: nn.Module, example: tuple[torch.Tensor, torch.Tensor], config: OptimizerConfig) -> float:
    """Median seconds of one training step of `network` on a batch."""
    optimizer = make_weight_optimizer(
        network.parameters(), lr=config.weight_lr, momentum=config.weight_momentum, weight_decay=config.weight_decay
    )
    network.train()
    times = []
    for _ in range(1 + TIMED_STEPS):
        began = _now(example[0].device)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(example[0]), example[1]).backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.grad_clip)
        optimizer.step()
        times.append(_now(example[0].device) - began)
    return statistics.median(times[1:])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        # What was queued before belongs to the time before.
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reasons(chosen: Candidate, candidates: Sequence[Candidate], epochs: int, config: RunConfig) -> tuple[str, ...]:
    wider = [each for each in candidates if each.channels > chosen.channels]
    if chosen.epochs < LEAST_EPOCHS:
        width = f"{chosen.channels} channels: no width gets {LEAST_EPOCHS} epochs, and this one gets most"
    elif wider:
        width = (
            f"{chosen.channels} channels: the largest width that gets at least {LEAST_EPOCHS} epochs; "
            f"{wider[0].channels} would get {wider[0].epochs:.1f}"
        )
    else:
        width = f"{chosen.channels} channels: the largest width offered; it gets {chosen.epochs:.0f} epochs"
    length = f"{epochs} epochs: what the budget pays for"
    if epochs < int(chosen.epochs):
        length = f"{epochs} epochs: no run is longer, the budget would pay for {chosen.epochs:.0f}"
    depth = f"{config.layers} cells in three stages, as asked for: a plan changes the width alone"
    return (width, length, depth, "no growth: no budget was found where it beats the width that fits it")
