"""The one place where the objects of a run are composed from its settings."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import nn

from lab.agent import AgentStrategy
from lab.asose import ASOSEStrategy
from lab.base import TrainingError, derive_seed, require
from lab.datasets import Streams, load_multitask, open_streams
from lab.device import choose_device, is_oom
from lab.mahia import PrecisionManager
from lab.monitor import StabilityMonitor
from lab.multitask import MultitaskStrategy, TaskLosses, make_hybrid
from lab.nn import EvolvableNetwork, SuperNet, parse_cell
from lab.nn.named import make_model
from lab.runs.config import RunConfig
from lab.space import SPACES, find_table
from lab.state import seed_rng
from lab.store import OomEvent
from lab.text import TextData, TextLoss, TextStrategy, make_text_model
from lab.train import (
    Compiler,
    Criterion,
    Group,
    PerSampleLoss,
    RecordData,
    RunData,
    SingleProcess,
    StepOptions,
    Strategy,
    StreamData,
    SupervisedStrategy,
)
from lab.train.group import local_device


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is made of."""

    config: RunConfig
    """The settings that hold: where memory was short, smaller ones than were asked for."""
    device: torch.device
    data: RunData
    strategy: Strategy
    monitor: StabilityMonitor
    group: Group = field(default_factory=SingleProcess)
    criterion: PerSampleLoss = field(default_factory=Criterion)
    """How the network is read."""

    @property
    def streams(self) -> Streams:
        """The images that it trains on.

        Raises:
            TrainingError: it trains on records.
        """
        if not isinstance(self.data, StreamData):
            raise TrainingError("a run on images", self.data.title, "give a run of another recipe than multitask")
        return self.data.streams

    def intention(self, epoch: int, epochs: int) -> str:
        """What the run is about to do from `epoch` on, counted from 0: recipe, data set, length, size, device."""
        networks = [root for root in self.strategy.state().roots if isinstance(root, nn.Module)]
        # A supernet stands beside its architecture parameters, and the live network beside the supernet.
        size = max(sum(parameter.numel() for parameter in network.parameters()) for network in networks)
        length = f"epochs {epoch + 1} to {epochs}" if epoch else f"{epochs} epochs"
        return (
            f"training {self.config.recipe} on {self.data.title}: {length}, batches of {self.config.batch_size}, "
            f"a network of {size:,} parameters on {self.device}"
        )


def run_device(config: RunConfig) -> torch.device:
    """The device that the run takes in this process.

    Raises:
        LabError: it cannot be had, or its memory cannot be limited as asked.
    """
    device = choose_device(local_device(config.devices.device)).device
    if config.devices.memory_fraction is not None:
        require(
            device.type == "cuda",
            expected="a CUDA device with --memory-fraction",
            got=str(device),
            hint="remove --memory-fraction, or choose --device cuda",
        )
    return device


def build(config: RunConfig, group: Group | None = None) -> Parts:
    """Compose a run. Sets torch's thread count and the seed of every global random stream.

    Raises:
        LabError: a device, data set or setting that cannot be had.
        TrainingError: no memory for the networks, and `on_oom` says to stop, or nothing is left to make smaller.
    """
    device = run_device(config)
    if config.devices.memory_fraction is not None:
        torch.cuda.set_per_process_memory_fraction(config.devices.memory_fraction, device)
    torch.set_num_threads(config.threads or spare_threads())
    events: list[OomEvent] = []
    while True:
        parts, shortage = _attempt(config, device, group or SingleProcess())
        if parts is not None:
            # The run has no store yet; the loop takes them out of the strategy's records.
            parts.strategy.records += events
            return parts
        # The `except` clause has been left: the failed networks are free by now.
        config, device, event = _make_room(config, device, shortage)
        events.append(event)


def _attempt(config: RunConfig, device: torch.device, group: Group) -> tuple[Parts | None, str]:
    """The parts, or what the allocator said."""
    try:
        return _compose(config, device, group), ""
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
        return None, (str(error) or type(error).__name__).splitlines()[0]


def _make_room(config: RunConfig, device: torch.device, shortage: str) -> tuple[RunConfig, torch.device, OomEvent]:
    """Settings that need less, and the event that says so."""
    if config.on_oom == "smaller" and config.init_channels > 1:
        channels = config.init_channels // 2
        text = f"the networks have {channels} channels at first in place of {config.init_channels}: {shortage}"
        event = OomEvent(action="smaller network", micro_batch=None, text=text)
        return replace(config, init_channels=channels), device, event
    if config.on_oom == "cpu" and device.type != "cpu":
        text = f"the run takes the CPU in place of {device}: {shortage}"
        moved = replace(config, devices=replace(config.devices, device="cpu"))
        return moved, torch.device("cpu"), OomEvent(action="cpu", micro_batch=None, text=text)
    hint = "give --on-oom smaller or --on-oom cpu, fewer --init-channels or another --device"
    raise TrainingError(f"memory for the networks on {device} (--on-oom {config.on_oom})", shortage, hint)


def _compose(config: RunConfig, device: torch.device, group: Group) -> Parts:
    if config.recipe in RECORD_RECIPES:
        return RECORD_RECIPES[config.recipe](config, device, group)
    # Workers hand batches over through the main memory.
    held = torch.device("cpu") if config.workers else device
    streams = open_streams(replace(config.data, seed=config.seed), batch_size=config.batch_size, device=held)
    if config.recipe == "aso-se":
        _ = streams.search  # says now that a batch is too large, not after the warm-up
    # After the data is read, so that nothing drawn there moves the initial weights.
    seed_rng(derive_seed(config.seed, "init"))
    strategy = make_strategy(
        config,
        num_classes=streams.bundle.num_classes,
        in_channels=streams.bundle.shape[0],
        size=streams.bundle.shape[1],
        device=device,
        group=group,
    )
    return Parts(
        config=config,
        device=device,
        data=StreamData(streams, device=device, workers=config.workers, group=group),
        strategy=strategy,
        monitor=StabilityMonitor(config.monitor),
        group=group,
    )


def _compose_multitask(config: RunConfig, device: torch.device, group: Group) -> Parts:
    _require_alone(config, group)
    records = load_multitask(config.seed, selection_share=config.data.selection_share)
    criterion = TaskLosses(records.tasks)
    seed_rng(derive_seed(config.seed, "init"))
    strategy = MultitaskStrategy(
        make_hybrid(config.multitask, records).to(device),
        criterion,
        config.optimizer,
        config.multitask,
        seed=config.seed,
        epochs=config.scheduled_epochs,
        options=StepOptions(precision=PrecisionManager(config.precision, device)),
    )
    return Parts(
        config=config,
        device=device,
        data=RecordData(records, batch_size=config.batch_size, seed=config.seed, device=device),
        strategy=strategy,
        monitor=StabilityMonitor(config.monitor),
        group=group,
        criterion=criterion,
    )


def _compose_text(config: RunConfig, device: torch.device, group: Group) -> Parts:
    _require_alone(config, group)
    given = replace(config.data, seed=config.seed)
    data = TextData(given, config.text, batch_size=config.batch_size, device=device)
    seed_rng(derive_seed(config.seed, "init"))
    model, reports = make_text_model(config.text, data)
    criterion = TextLoss(config.text.task, config.text.criteria_weight)
    strategy = TextStrategy(
        model.to(device),
        config.optimizer,
        config.text,
        data,
        reports=reports,
        epochs=config.scheduled_epochs,
        options=replace(_step_options(config, device, group), criterion=criterion),
    )
    return Parts(
        config=config,
        device=device,
        data=data,
        strategy=strategy,
        monitor=StabilityMonitor(config.monitor),
        group=group,
        criterion=criterion,
    )


RECORD_RECIPES: Mapping[str, Callable[[RunConfig, torch.device, Group], Parts]] = MappingProxyType(
    {"multitask": _compose_multitask, "text": _compose_text}
)
"""Recipe on records -> what composes its run."""


def _require_alone(config: RunConfig, group: Group) -> None:
    require(
        group.size == 1,
        expected=f"one process with recipe {config.recipe}",
        got=f"{group.size} ranks",
        hint="start it without torchrun",
    )


def spare_threads() -> int:
    """Torch's thread count, less where it would take every core: the page, the store and the browser need one.

    Two threads on a busy machine of two cores wait for each other at every operation and can be fifty times slower.
    """
    return max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))


@dataclass(frozen=True, kw_only=True)
class Images:
    """What the networks of a run on images take, and where they compute."""

    num_classes: int
    in_channels: int
    size: int
    """Side in pixels."""
    device: torch.device


def make_strategy(
    config: RunConfig,
    *,
    num_classes: int,
    in_channels: int,
    size: int,
    device: torch.device,
    group: Group | None = None,
) -> Strategy:
    """The strategy of `config` with fresh networks on `device`, for images (in_channels, size, size)."""
    images = Images(num_classes=num_classes, in_channels=in_channels, size=size, device=device)
    return FACTORIES[config.recipe](config, images, _step_options(config, device, group))


def _make_search(config: RunConfig, images: Images, options: StepOptions) -> Strategy:
    space = SPACES[config.space]
    supernet = SuperNet(space, config.init_channels, config.layers, images.num_classes, images.in_channels)
    return ASOSEStrategy(
        supernet.to(images.device),
        config.search,
        config.optimizer,
        seed=config.seed,
        epochs=config.scheduled_epochs,
        budget=config.budget,
        table=find_table(space),
        options=options,
    )


def _make_fixed(config: RunConfig, images: Images, options: StepOptions) -> Strategy:
    network = EvolvableNetwork(
        parse_cell(config.fixed_cell, SPACES[config.space]),
        channels=config.init_channels,
        layers=config.layers,
        num_classes=images.num_classes,
        in_channels=images.in_channels,
    )
    return SupervisedStrategy(
        network.to(images.device), config.optimizer, epochs=config.scheduled_epochs, options=options
    )


def _make_agent(config: RunConfig, images: Images, options: StepOptions) -> Strategy:
    model = make_model(
        config.evolve.model,
        num_classes=images.num_classes,
        in_channels=images.in_channels,
        size=images.size,
        channels=config.init_channels,
    )
    return AgentStrategy(
        model.to(images.device),
        config.optimizer,
        config.evolve,
        seed=config.seed,
        epochs=config.scheduled_epochs,
        options=options,
    )


FACTORIES: Mapping[str, Callable[[RunConfig, Images, StepOptions], Strategy]] = MappingProxyType(
    {"aso-se": _make_search, "fixed": _make_fixed, "agent": _make_agent}
)
"""Recipe on images -> what makes its strategy from the run's settings, the images, and how steps are taken."""


def _step_options(config: RunConfig, device: torch.device, group: Group | None) -> StepOptions:
    return StepOptions(
        precision=PrecisionManager(config.precision, device),
        grad_accum_steps=config.grad_accum_steps,
        adaptive=config.adaptive_batch == "on" or (config.adaptive_batch == "auto" and device.type == "cuda"),
        compiler=_compiler(config, device, group),
        group=group or SingleProcess(),
    )


def _compiler(config: RunConfig, device: torch.device, group: Group | None) -> Compiler | None:
    if not config.compile:
        return None
    require(
        group is None or group.size == 1,
        expected="one process with --compile",
        got=f"{group.size if group else 1} ranks",
        hint="remove --compile under torchrun",
    )
    return Compiler(device)
