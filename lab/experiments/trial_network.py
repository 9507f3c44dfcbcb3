"""One network in training on which changes are tried: data, schedule, changes of a cell's edge and of a layer's width.

B batch, C channels, H height, W width.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import ConfigError, derive_seed
from lab.datasets import open_streams
from lab.experiments.images import IMAGES, PIXELS, image_config
from lab.experiments.trial_settings import TrialBench, TrialSetting
from lab.morph import Morph, Prune, Widen, apply
from lab.nn import EvolvableNetwork, eval_mode, make_primitive, measure_flops, train_mode
from lab.nn.flops import FORWARDS_OF_STEP
from lab.space import NB201, Edge, Genotype
from lab.state import preserved_rng
from lab.train import Split, StreamData
from lab.train.optimizer import FINAL_RATE, make_weight_optimizer
from lab.trial import Arm, Reading

OTHER_ORDER = 1_000_000
"""Epoch number, above any real one, from which a further batch order is drawn."""
GRAD_CLIP = 5.0
SHARED = ("stem", "classifier")
"""Layers whose width is tried."""


def open_data(setting: TrialSetting, config: TrialBench, seed: int) -> tuple[StreamData, int, int]:
    """The data of a setting, its classes and its channels.

    Raises:
        ConfigError: the setting reads a file that was not given.
    """
    if IMAGES[setting.images].name == PIXELS and config.pixels is None:
        raise ConfigError("--pixels with an .npz file", "none", "give one, or leave the setting out")
    data = image_config(setting.images, data_dir=config.data_dir, cifar=config.pixels, folder=config.folder, seed=seed)
    data = replace(data, shift=setting.shift, flip=setting.flip)
    streams = open_streams(data, batch_size=setting.batch_size)
    return StreamData(streams), streams.bundle.num_classes, streams.bundle.shape[0]


class _Fresh:
    """New primitives with weights of their own, for a network of three cells."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def extract(self, edge: Edge, number: int, name: str) -> nn.Module:
        return make_primitive(name, self.channels * 2**number)


class TrialNetwork:
    """The run's network, its optimizer and its compute.

    Args:
        setting: data, channels, compute.
        config: start cell, rate.
        seed: of splits, weights and batches.
    """

    def __init__(self, setting: TrialSetting, config: TrialBench, seed: int) -> None:
        self.setting = setting
        self.config = config
        self.seed = seed
        self.data, classes, in_channels = open_data(setting, config, seed)
        start = Genotype(NB201, tuple(NB201.primitives[int(digit)] for digit in config.cell))
        torch.manual_seed(derive_seed(seed, "init"))
        network = EvolvableNetwork(
            start, channels=setting.channels, layers=3, num_classes=classes, in_channels=in_channels
        )
        optimizer = make_weight_optimizer(network.parameters(), lr=config.weight_lr, momentum=0.9, weight_decay=3e-4)
        self.arm = Arm(model=network, optimizer=optimizer)
        self.held_out = list(self.data.selection())
        self.spent = 0.0
        """FLOPs."""
        self.seen = 0
        """Training batches of the run's own network."""
        self._forward = self.flops(network)

    @property
    def samples(self) -> int:
        """Held-out samples."""
        return sum(len(y_B) for _, y_B in self.held_out)

    @property
    def genotype(self) -> Genotype:
        """The cell as it is, or as it goes to."""
        network = self.arm.model
        assert isinstance(network, EvolvableNetwork)
        return network.genotype

    @property
    def share(self) -> float:
        """Share of the compute that is spent."""
        return self.spent / self.setting.compute

    def flops(self, model: nn.Module) -> float:
        """FLOPs of a forward of one image."""
        x_BCHW, _ = self.held_out[0]
        return float(measure_flops(model, x_BCHW[:1]))

    def measure(self) -> None:
        """Read the cost of a forward again after a change."""
        self._forward = self.flops(self.arm.model)

    def batches(self, order: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The run's next batches (order 0), or another order of them, without end."""
        length = self.data.length(Split.TRAIN)
        epoch, start = divmod(self.seen, length)
        while True:
            yield from self.data.batches(Split.TRAIN, epoch + order * OTHER_ORDER, start)
            epoch, start = epoch + 1, 0

    def step(self, arm: Arm, batch: tuple[Tensor, Tensor]) -> None:
        """One clipped step of an arm at the run's present rate."""
        cosine = (1.0 + math.cos(math.pi * min(self.share, 1.0))) / 2.0
        for group in arm.optimizer.param_groups:
            group["lr"] = self.config.weight_lr * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)
        train_mode(arm.model)
        arm.optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(arm.model(batch[0]), batch[1]).backward()
        nn.utils.clip_grad_norm_(arm.model.parameters(), GRAD_CLIP)
        arm.optimizer.step()

    def count(self, rows: int) -> None:
        """Count a step of the run's own network on `rows` images."""
        self.spent += FORWARDS_OF_STEP * rows * self._forward
        self.seen += 1

    def train_until(self, share: float, before_step: Any = None) -> None:
        """Train the run's network until `share` of the compute is spent; `before_step` is called before each step."""
        stream = self.batches()
        while self.share < share:
            if before_step is not None:
                before_step()
            batch = next(stream)
            self.step(self.arm, batch)
            self.count(len(batch[1]))

    @torch.no_grad()
    def read(self, model: nn.Module) -> Reading:
        """A network on the held-out samples."""
        losses, hits = [], []
        with eval_mode(model):
            for x_BCHW, y_B in self.held_out:
                logits_BK = model(x_BCHW)
                losses.append(nn.functional.cross_entropy(logits_BK, y_B, reduction="none").double().cpu())
                hits.append((logits_BK.argmax(-1) == y_B).cpu())
        return Reading(losses_N=torch.cat(losses), hits_N=torch.cat(hits))


class CellChange:
    """A step to another cell: new primitives come in gradually over a quarter of the trial.

    Args:
        network: whose start the copies are.
        target: the cell.
        steps: of the transition, >= 1.
        number: of the change in the run, for the draw of its weights.
    """

    def __init__(self, network: TrialNetwork, target: Genotype, *, steps: int, number: int) -> None:
        self.network = network
        self.target = target
        self.steps = steps
        self.number = number

    def apply(self, arm: Arm) -> None:
        """Begin the transition."""
        assert isinstance(arm.model, EvolvableNetwork)
        with preserved_rng(derive_seed(self.network.seed, "fresh", self.number)):
            arm.model.mutate(self.target, _Fresh(self.network.setting.channels))
        _follow(arm)

    def before_step(self, arm: Arm, number: int) -> None:
        """Move the transition on."""
        assert isinstance(arm.model, EvolvableNetwork)
        if arm.model.transitions:
            arm.model.set_beta(min((number + 1) / self.steps, 1.0))
            if number + 1 >= self.steps:
                arm.model.finalize()
                _follow(arm)


class WidthChange:
    """Another width of one layer, and of whatever is tied to it."""

    def __init__(self, network: TrialNetwork, morph: Morph) -> None:
        self.network = network
        self.morph = morph

    def apply(self, arm: Arm) -> None:
        """Plan and make the change.

        Raises:
            MorphError: it is not possible.
        """
        x_BCHW, _ = self.network.held_out[0]
        apply(self.morph.plan(arm.model, x_BCHW[:4]), arm.model, arm.optimizer).release()

    def before_step(self, arm: Arm, number: int) -> None:
        """Nothing is gradual."""


def width_changes(network: TrialNetwork) -> list[WidthChange]:
    """Each stage half as wide again, and by a quarter narrower."""
    channels = network.setting.channels
    layers = ("backbone.stem", *(f"backbone.reductions.{stage}.conv1" for stage in range(2)))
    found: list[WidthChange] = []
    for stage, layer in enumerate(layers):
        width = channels * 2**stage
        found += [
            WidthChange(network, Widen(layer, 3 * width // 2)),
            WidthChange(network, Prune(layer, 3 * width // 4)),
        ]
    return found


def _follow(arm: Arm) -> None:
    """Let the optimizer hold the network's parameters, with the state of those that stay."""
    group = arm.optimizer.param_groups[0]
    group["params"] = list(arm.model.parameters())
    known = {id(p) for p in group["params"]}
    for parameter in [p for p in arm.optimizer.state if id(p) not in known]:
        del arm.optimizer.state[parameter]
