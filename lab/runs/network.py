"""The evolved network of a checkpoint, without the data that it was trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lab.asose import ASOSEStrategy
from lab.base import CheckpointError
from lab.checkpoint import Checkpoint
from lab.datasets import Streams
from lab.nn import Cell, InterpolatedOp
from lab.runs.build import make_strategy
from lab.runs.config import RunConfig
from lab.state import preserved_rng
from lab.store import translate_config
from lab.train import StrategyState

NO_IMAGES: Mapping[str, str] = MappingProxyType({"multitask": "a text and a table", "text": "the tokens of a sentence"})
"""Recipe -> what its network takes instead of images."""


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """What a network takes and what its outputs mean."""

    shape: tuple[int, int, int]
    """Channels, height and width of one image."""
    mean: tuple[float, ...]
    """Mean of each channel, which is taken off a pixel; uint8 pixels are divided by 255 before."""
    deviation: tuple[float, ...]
    """Standard deviation of each channel by which the rest is divided."""
    classes: tuple[str, ...]
    """Name of each output, in order."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "NetworkInput":
        """The input that a checkpoint states.

        Raises:
            CheckpointError: it states none.
        """
        recipe = translate_config(checkpoint.base.get("config", {})).get("recipe", "")
        if recipe in NO_IMAGES:
            got = f"one of recipe {recipe}, whose network takes {NO_IMAGES[recipe]}"
            raise CheckpointError("a checkpoint of a network of images", got, "give a run of another recipe")
        stated = checkpoint.base.get("input")
        if stated is None or "config" not in checkpoint.base:
            raise CheckpointError(
                "a checkpoint of lab train that states its input",
                f"one with {', '.join(sorted(checkpoint.base)) or 'nothing'}",
                "resume the run for an epoch and take the checkpoint that it writes",
            )
        return cls(**{name: tuple(values) for name, values in stated.items()})


def describe_input(streams: Streams) -> dict[str, Any]:
    """The input of a network that trains on `streams`, as JSON data for a checkpoint."""
    described = NetworkInput(
        shape=streams.bundle.shape,
        mean=streams.normalisation.mean,
        deviation=streams.normalisation.deviation,
        classes=streams.bundle.classes,
    )
    return {name: list(values) for name, values in asdict(described).items()}


def restore_network(checkpoint: Checkpoint) -> nn.Module:
    """The network that a run had evolved when `checkpoint` was written: (B, C, H, W) -> logits (B, K); CPU, eval mode.

    With weight_average it is the averaged one, which the run's readings are of. Inputs are normalised as
    `NetworkInput.of(checkpoint)` says. The random streams are as before afterwards.

    Raises:
        CheckpointError: the checkpoint has no such network yet, or is none of a training run.
        MorphError: what it says of its growth does not fit its network.
    """
    stated = NetworkInput.of(checkpoint)
    config = RunConfig.from_json(checkpoint.base["config"])
    # Weights are drawn and then replaced; the caller's streams must not notice.
    with preserved_rng():
        strategy = make_strategy(
            config,
            num_classes=len(stated.classes),
            in_channels=stated.shape[0],
            size=stated.shape[1],
            device=torch.device("cpu"),
        )
        state = StrategyState.saved(checkpoint.state["strategy"], checkpoint.plans)
        # The explorer's stream is one of the device that the run computed on, which may not be here.
        if isinstance(strategy, ASOSEStrategy):
            strategy.restore_networks(state)
        else:
            strategy.restore(state)
    if strategy.network is None:
        raise CheckpointError(
            "a checkpoint with an evolved network",
            f"one of epoch {checkpoint.epoch}, before the search took its first cell",
            "let the run reach its first mutation phase, and choose a later checkpoint",
        )
    averaged = strategy.state().averaged
    return (strategy.network if averaged is None else averaged).eval()


def under_hand_over(network: nn.Module) -> tuple[str, ...]:
    """What in `network` is between old and new, one sentence each: blends, and cells that came by growth."""
    # As an ordered set: several edges may be told in the same words.
    found: dict[str, None] = {}
    for name, module in network.named_modules():
        if isinstance(module, InterpolatedOp):
            found[f"{module.old_name} -> {module.new_name} at beta {float(module.beta):.3f}"] = None
        elif isinstance(module, Cell) and module.beta is not None and float(module.beta) < 1.0:
            found[f"the new {name} at beta {float(module.beta):.3f}"] = None
    return tuple(found)
