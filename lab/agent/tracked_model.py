"""`TrackedModel`: the network that the agent works on, with what trains it and what is measured of it.

N samples.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.optim import Optimizer

from lab.agent.batch import Labelled, read_batch
from lab.agent.evolution import StructuralEvolution
from lab.agent.information import InformationBottleneck
from lab.agent.measure import Measures, describe, measure
from lab.agent.operators import ActionContext
from lab.agent.trial import TrainStep
from lab.base import ConfigError, derive_seed
from lab.device import batch_part
from lab.morph.trace import Traces
from lab.state import structure_digest, weight_digest

EXAMPLE = 4
"""Samples on which a plan is tried."""


class TrackedModel:
    """The network that the agent works on.

    Args:
        model: changed in place.
        evolution: limits of what a change may cost.
        ib: measures information.
        optimizer: of the network; None where it is not trained.
        train_loader: batches of probe steps.
        train_step: one training step.
        samples: on which layers are measured, >= 8.
        seed: of what operators draw.
    """

    def __init__(
        self,
        model: nn.Module,
        evolution: StructuralEvolution,
        ib: InformationBottleneck,
        *,
        optimizer: Optimizer | None,
        train_loader: Iterable[object] | None,
        train_step: TrainStep,
        samples: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.evolution = evolution
        self.ib = ib
        self.optimizer = optimizer
        self.train_loader = train_loader
        self.train_step = train_step
        self.samples = samples
        self.seed = seed
        self.device = device
        self.steps = 0
        """Training steps in trials so far, those of every copy."""
        self.own_samples = 0
        """Samples that the network itself was trained on in trials."""
        self.measures: Measures | None = None
        self.measured = ""
        """Digests of the network and of the samples that `measures` is of."""
        self._batches: Iterator[object] = iter(())
        self._traces = Traces()

    @property
    def parameters(self) -> int:
        """Numbers that the network learns or holds fixed."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def digests(self) -> tuple[str, str]:
        """Of structure and of weights."""
        return structure_digest(self.model), weight_digest(self.model)

    def read(self, batches: list[Labelled]) -> dict[str, float]:
        """What `describe` says of the network on `batches`; its layers are measured on the first of them."""
        return describe(self.model, batches, self.measure(batches[0]))

    def measure(self, batch: Labelled) -> Measures:
        """The layers on the first samples of `batch`; once for the same network and samples."""
        count = min(len(batch), self.samples)
        part = Labelled(inputs=batch_part(batch.inputs, 0, count), labels_B=batch.labels_B[:count])
        key = f"{self.digests} {part.labels_B.tolist()}"
        if self.measures is None or key != self.measured:
            self.measures, self.measured = measure(self.model, part, self.ib), key
        return self.measures

    def look(self) -> bool:
        """Measure on a training batch where nothing has been measured yet; whether anything is measured now."""
        if self.measures is None and self.train_loader is not None:
            batch = next(iter(self.train_loader), None)
            if batch is not None:
                self.measure(read_batch(batch, self.model, self.device))
        return self.measures is not None

    def context(self, taken: int, excluded: frozenset[str], model: nn.Module | None = None) -> ActionContext:
        """What operators see after `taken` actions; with `model` a copy of the network in its place."""
        assert self.measures is not None
        traces = self._traces if model is None else Traces()
        model, batch = self.model if model is None else model, self.measures.batch
        example = batch_part(batch.inputs, 0, min(EXAMPLE, len(batch)))
        return ActionContext(
            model=model,
            example=example,
            measures=self.measures,
            seed=derive_seed(self.seed, "agent", "operators", taken),
            excluded=excluded,
            max_growth=self.evolution.max_growth,
            traces=traces,
            budget=(lambda plan: self.evolution.over_budget(plan, model, example)) if self.evolution.limited else None,
        )

    def begin_round(self) -> None:
        """Take the batches of probe steps from the beginning of `train_loader` again."""
        self._batches = iter(())
        self._traces = Traces()

    def probe(self, steps: int) -> list[Labelled]:
        """The next `steps` training batches.

        Raises:
            ConfigError: the loader gives none.
        """
        found: list[Labelled] = []
        while len(found) < steps:
            assert self.train_loader is not None
            batch = next(self._batches, None)
            if batch is None:
                self._batches = iter(self.train_loader)
                batch = next(self._batches, None)
                if batch is None:
                    raise ConfigError("a train_loader with batches", "an empty one", "check its length")
            found.append(read_batch(batch, self.model, self.device))
        return found

    def orders(self, probe: list[Labelled], count: int, seed: int) -> list[list[Labelled]]:
        """`probe`, and so many more orders of it that there are `count`: the same samples, dealt into other batches.

        Batches whose inputs are no single tensors of one shape are kept and come in another order.
        """
        found = [probe]
        for number in range(1, count):
            generator = torch.Generator().manual_seed(derive_seed(seed, "agent", "order", number))
            inputs = [batch.inputs for batch in probe]
            if all(isinstance(x, torch.Tensor) and x.shape[1:] == probe[0].inputs.shape[1:] for x in inputs):  # type: ignore[union-attr]
                lengths = [len(batch) for batch in probe]
                labels = torch.cat([batch.labels_B for batch in probe])
                order = torch.randperm(len(labels), generator=generator).to(labels.device)
                parts = zip(torch.cat(inputs)[order].split(lengths), labels[order].split(lengths), strict=True)  # type: ignore[arg-type]
                found.append([Labelled(inputs=x, labels_B=y) for x, y in parts])
            else:
                found.append([probe[number] for number in torch.randperm(len(probe), generator=generator).tolist()])
        return found
