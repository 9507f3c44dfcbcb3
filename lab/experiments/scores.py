"""Do scores of information say where a change pays? Score against measured effect, beside trivial scores.

A plain convolutional network with layers of drawn widths trains for a few epochs. Then each layer is changed in turn by
one operator, and the held-out loss after a few training steps is compared with that of the control copy, which takes
the same steps from the same random state. The rank correlation (Spearman) between a score of the layer, read before,
and the measured gain says what the score is worth; random, width and parameters measure nothing and stand beside.
Which units a pruning keeps is judged in the same way: by the loss that is left.
"""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from random import Random
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import nn
from torch.optim import Optimizer

from lab.agent import (
    KINDS,
    LAYER_SCORES,
    UNIT_SCORES,
    ActionContext,
    InformationBottleneck,
    Measures,
    gate_gradient,
    measure,
    read_batch,
)
from lab.agent.trial import plain_step, read
from lab.base import MorphError, ReportTable, derive_seed
from lab.datasets import DataConfig, open_streams
from lab.experiments.training_settings import ScoresBench
from lab.morph import Morph, Prune, Widen, apply
from lab.morph.trace import Traces
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.state import ModelSnapshot, OptimizerSnapshot, preserved_rng
from lab.train import compare
from lab.trial import Reading

ACTIONS = ("prune", "expand", "branch", "attention", "residual")
GATE = "gate_gradient"


def run(config: ScoresBench) -> dict[str, Any]:
    """Every network; what is there already is not measured again."""
    ignored = ("networks", "folder", "data_dir")
    records = Records(config.folder, {name: value for name, value in asdict(config).items() if name not in ignored})
    found = []
    with progress_bar(config.networks) as bar:
        for number in range(config.networks):
            piece = records.read(f"network_{number}")
            if piece is None:
                piece = {"moments": _TrackedNetwork(config, number).moments()}
                records.write(f"network_{number}", piece)
            found += piece["moments"]
            bar.step(f"network {number}")
    return {
        "bench": "scores",
        "config": {**asdict(config), "folder": str(config.folder)},
        "machine": machine(),
        "results": {"layers": _layers(found), "units": _units(found), "situations": len(found)},
    }


def plain_network(depth: int, in_channels: int, size: int, classes: int, random: Random) -> nn.Sequential:
    """`depth` 3x3 convolutions of drawn widths with BatchNorm and ReLU, two poolings, a hidden linear layer."""
    layers: list[nn.Module] = []
    before = in_channels
    for number in range(depth):
        width = random.choice((4, 6, 8, 12, 16))
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        if number in (0, depth // 2) and size >= 4:
            layers.append(nn.MaxPool2d(2))
            size //= 2
        before = width
    hidden = random.choice((8, 16, 32))
    layers += [nn.Flatten(), nn.Linear(before * size * size, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)


@contextmanager
def _undone(model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
    """Whatever happens to model, optimizer and the global random streams inside the block is undone, bit for bit."""
    kept = ModelSnapshot(model), OptimizerSnapshot(optimizer)
    with preserved_rng():
        try:
            yield
        finally:
            for snapshot in kept:
                snapshot.restore()


class _TrackedNetwork:
    """One network in training."""

    def __init__(self, config: ScoresBench, number: int) -> None:
        self.config = config
        self.seed = derive_seed(0, "scores", number)
        data = DataConfig(
            name=config.dataset, data_dir=config.data_dir, train_limit=config.train_limit, seed=self.seed % 2**31
        )
        self.streams = open_streams(data, batch_size=32, device=torch.device("cpu"))
        torch.manual_seed(self.seed)
        channels, size, _ = self.streams.bundle.shape
        self.random = Random(self.seed)
        self.traces = Traces()
        self.model = plain_network(config.depth, channels, size, self.streams.bundle.num_classes, self.random)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config.lr, momentum=0.9)
        self.step = plain_step()
        self.held_out = [self._read(pair) for pair in self.streams.selection.batches()]

    def _read(self, pair: object) -> Any:
        return read_batch(pair, self.model, torch.device("cpu"))

    def moments(self) -> list[dict[str, Any]]:
        """Scores and effects of every layer, at each of the asked epochs."""
        found, done = [], 0
        for epochs in self.config.epochs:
            for epoch in range(done, epochs):
                for pair in self.streams.train.batches(epoch):
                    self.step(self.model, self.optimizer, self._read(pair))
            done = epochs
            found.append(self._moment(epochs))
        return found

    def _moment(self, epochs: int) -> dict[str, Any]:
        pairs = list(self.streams.search.batches(0))
        images, labels = (torch.cat(parts)[:256] for parts in zip(*pairs, strict=True))
        measures = measure(self.model, self._read((images, labels)), InformationBottleneck())
        context = ActionContext(model=self.model, example=images[:4], measures=measures)
        probe = []
        # Numbers that no epoch of the training has: the probe's batches come in an order of their own.
        for epoch in range(1000, 1100):
            probe += [self._read(pair) for pair in self.streams.train.batches(epoch)]
            if len(probe) >= self.config.probe_steps:
                break
        self.probe = probe[: self.config.probe_steps]
        with _undone(self.model, self.optimizer):
            self.control = self._trained()
        # Not the last layer, whose width is the number of classes.
        names = list(measures.layers)[:-1]
        effects: dict[str, dict[str, float | None]] = {action: {} for action in ACTIONS}
        gates: dict[str, dict[str, float | None]] = {action: {} for action in KINDS}
        for name in names:
            for action in ACTIONS:
                morph = self._morph(action, name, measures)
                effects[action][name] = self._effect(morph)
                if action in KINDS:
                    gates[action][name] = self._gate(context, morph)
        return {
            "epochs": epochs,
            "scores": {
                score: {name: value(measures.layers[name], self.random) for name in names}
                for score, value in LAYER_SCORES.items()
            },
            "gates": gates,
            "effects": effects,
            "units": self._unit_effects(names, measures),
        }

    def _trained(self) -> Reading:
        for batch in self.probe:
            self.step(self.model, self.optimizer, batch)
        return read(self.model, self.held_out)

    def _morph(self, action: str, name: str, measures: Measures) -> Morph:
        width = measures.layers[name].width
        change = max(1, round(width * self.config.ratio))
        if action == "prune":
            # Random units: the layer is judged here, and not the choice of its units.
            return Prune(name, tuple(sorted(self.random.sample(range(width), width - change))))
        return Widen(name, width + change) if action == "expand" else KINDS[action](name)

    def _effect(self, morph: Morph) -> float | None:
        """Gain of held-out loss against the control copy, nats; None where the change is not possible."""
        try:
            plan = morph.plan(self.model, self.held_out[0].inputs[:4], traces=self.traces)
        except MorphError:
            return None
        with _undone(self.model, self.optimizer):
            # Without a snapshot of its own: `_undone` has one already.
            apply(plan, self.model, self.optimizer).release()
            return -compare(self.control.losses_N, self._trained().losses_N).mean

    def _gate(self, context: ActionContext, morph: Morph) -> float | None:
        try:
            return gate_gradient(context, morph)
        except MorphError:
            return None

    def _unit_effects(self, names: list[str], measures: Measures) -> dict[str, float]:
        """Mean gain of pruning each layer in turn, its units kept by each score."""
        found: dict[str, list[float]] = {score: [] for score in UNIT_SCORES}
        for name in names:
            layer = measures.layers[name]
            keep = layer.width - max(1, round(layer.width * self.config.ratio))
            for score, value in UNIT_SCORES.items():
                units = value(layer, self.random).argsort(descending=True)[:keep].tolist()
                gain = self._effect(Prune(name, tuple(sorted(units))))
                if gain is not None:
                    found[score].append(gain)
        return {score: statistics.mean(values) for score, values in found.items()}


def _layers(moments: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Action -> score -> mean rank correlation with the gain over the situations, and its standard error."""
    found: dict[str, dict[str, Any]] = {}
    for action in ACTIONS:
        by_score: dict[str, list[float]] = {}
        for moment in moments:
            scores = {**moment["scores"], **({GATE: moment["gates"][action]} if action in KINDS else {})}
            for score, values in scores.items():
                pairs = [
                    (values[name], gain)
                    for name, gain in moment["effects"][action].items()
                    if gain is not None and values[name] is not None
                ]
                if len(pairs) >= 4:
                    by_score.setdefault(score, []).append(_rank_correlation(pairs))
        ranked = sorted(by_score.items(), key=lambda item: -statistics.mean(item[1]))
        found[action] = {score: {"rho": statistics.mean(rhos), "error": _error(rhos)} for score, rhos in ranked}
    return found


def _rank_correlation(pairs: list[tuple[float, float]]) -> float:
    first, second = ([pair[place] for pair in pairs] for place in (0, 1))
    # Where one side is constant the coefficient is not defined, and nothing was told.
    if len(set(first)) == 1 or len(set(second)) == 1:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _units(moments: list[dict[str, Any]]) -> dict[str, Any]:
    """Score -> mean gain of keeping the units that it says, over the situations, and its error against random units."""
    found = {}
    for score in UNIT_SCORES:
        gains = [moment["units"][score] for moment in moments]
        over = [moment["units"][score] - moment["units"]["random"] for moment in moments]
        found[score] = {"gain": statistics.mean(gains), "over_random": statistics.mean(over), "error": _error(over)}
    return found


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def summary(result: dict[str, Any]) -> ReportTable:
    """Every score for every action, the best first."""
    rows = []
    for action, scores in result["results"]["layers"].items():
        cells = [f"{score} {value['rho']:+.2f} +- {value['error']:.2f}" for score, value in scores.items()]
        rows.append((action, ", ".join(cells)))
    units = [
        f"{score} {value['over_random']:+.3f} +- {value['error']:.3f}"
        for score, value in result["results"]["units"].items()
    ]
    rows.append(("units kept, gain over random units, nats", ", ".join(units)))
    config = result["config"]
    title = f"scores against measured gain on {config['dataset']}, {result['results']['situations']} situations"
    note = f"mean Spearman over situations; loss read after {config['probe_steps']} steps, against the control copy"
    return ReportTable(title=title, columns=("action", "scores, the best first"), rows=tuple(rows), notes=(note,))
