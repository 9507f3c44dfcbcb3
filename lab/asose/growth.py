"""`Growth`: the network becomes wider or deeper between two cycles, supernet and child by one mapping.

Width: both share their parameters, so one plan of `lab.morph` is made for both at once, on the full mixture of the
supernet, which reads every primitive. Depth: a fresh cell comes to the end of a stage, and is handed over: its beta is
0 at first and rises to 1 in training. Neither changes the output when it is made. What was done is kept, in order: it
rebuilds the structure of a checkpoint. B batch, C channels, H height, W width, E edges, K primitives.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import TrainingError, derive_seed
from lab.morph import MorphPlan, NetworkAverage, Widen, apply
from lab.morph.average import apply_alike
from lab.nn import STAGES, Cell, EvolvableNetwork, Sample, SuperNet, recalibrate_batchnorm, staged
from lab.probe import outputs, relative_difference
from lab.space import Genotype
from lab.state import preserved_rng
from lab.store import GrowthEvent

TOLERANCE = 1e-5
"""Largest relative output difference of a growth (float32, eval mode)."""
KINDS = ("depth", "width")
"""Steps that are a growth of their own."""
EXAMPLES = 4
"""Samples that a plan is tried on."""


class _Both(nn.Module):
    """Supernet under the uniform mixture, and child."""

    def __init__(self, supernet: SuperNet, child: EvolvableNetwork) -> None:
        super().__init__()
        self.supernet = supernet
        self.child = child

    def forward(self, x_BCHW: Tensor, mixture_EK: Tensor) -> tuple[Tensor, Tensor]:
        mixed_BN: Tensor = self.supernet(x_BCHW, Sample(mixture_EK=mixture_EK))
        live_BN: Tensor = self.child(x_BCHW)
        return mixed_BN, live_BN


class Growth:
    """Grows a supernet and the child that runs on it, one stage after the other.

    Args:
        supernet: the network that grows.
        kinds: of `depth` and `width`, in the order in which they take turns.
        factor: of a stage's width, > 1; at least one channel is added.
        seed: run seed.
        units: what new channels are, as for `lab.morph.Widen`. With drawn ones a stage is widened as a whole, the inner
            layer of the reduction before it too, so that it is as one that was made so wide.
        average: of the child's weights; grows with it. None where none is kept.

    Raises:
        ConfigError: something is to grow in a network without stages.
    """

    def __init__(
        self,
        supernet: SuperNet,
        *,
        kinds: tuple[str, ...],
        factor: float,
        seed: int,
        units: str = "drawn",
        average: NetworkAverage | None = None,
    ) -> None:
        if kinds:
            staged(supernet.backbone)
        self.supernet = supernet
        self.kinds = kinds
        self.factor = factor
        self.seed = seed
        self.units = units
        self.average = average
        self.steps: tuple[dict[str, Any], ...] = ()
        """What was done, in order: `width` and `inner` with genotype and plan, `depth` with its stage,
        `finalize`."""
        self.done = 0
        self.total = 1
        self.largest_difference = 0.0
        """Of the output at any growth, relative, eval mode."""

    def grow(
        self,
        child: EvolvableNetwork,
        optimizer: Optimizer,
        *,
        probe_BCHW: Tensor,
        statistics: Iterable[Tensor],
        steps: int,
    ) -> tuple[GrowthEvent, ...]:
        """Make the next growth; the event says what was measured. Nothing grows while a transition is under way.

        Args:
            child: runs on the supernet's parameters; none of its edges is in transition.
            optimizer: of the supernet's parameters.
            probe_BCHW: inputs on which the output is compared.
            statistics: inputs for the BatchNorm statistics of a fresh cell.
            steps: training steps that its transition takes.

        Raises:
            MorphError: the stage cannot be widened exactly; nothing has then changed.
            TrainingError: the output of the child moved; the run cannot go on.
        """
        self.finalize(child)
        grown = self.grown
        if not self.kinds or self._handed_over(child):
            return ()
        kind = self.kinds[len(grown) % len(self.kinds)]
        stage = grown.count(kind) % STAGES
        before, parameters = outputs(child, probe_BCHW), self._parameters()
        if kind == "width":
            where = self._widen(child, optimizer, stage, probe_BCHW)
        else:
            where = self._deepen(child, optimizer, stage, statistics)
            self.done, self.total = 0, max(steps, 1)
        difference = relative_difference(outputs(child, probe_BCHW), before)
        # Not `>`: a difference that is NaN must not pass.
        if not difference <= TOLERANCE:
            raise TrainingError(
                f"a growth that changes the output by at most {TOLERANCE:g}",
                f"a difference of {difference:g}",
                "report this: the surgery is at fault",
            )
        self.largest_difference = max(self.largest_difference, difference)
        event = GrowthEvent(
            what=kind,
            where=where,
            parameters_before=parameters,
            parameters_after=self._parameters(),
            difference=difference,
        )
        return (event,)

    def _widen(self, child: EvolvableNetwork, optimizer: Optimizer, stage: int, probe_BCHW: Tensor) -> str:
        layer = "backbone.stem" if stage == 0 else f"backbone.reductions.{stage - 1}.conv2"
        width = staged(self.supernet.backbone).width(stage)
        wider = max(width + 1, round(width * self.factor))
        self._widen_layer(child, optimizer, layer, wider, probe_BCHW, kind="width")
        if stage and self.units == "drawn":
            self._widen_layer(
                child, optimizer, f"backbone.reductions.{stage - 1}.conv1", wider, probe_BCHW, kind="inner"
            )
        return layer

    def _widen_layer(
        self, child: EvolvableNetwork, optimizer: Optimizer, layer: str, width: int, probe_BCHW: Tensor, *, kind: str
    ) -> None:
        edges, primitives = len(self.supernet.space.edges), len(self.supernet.space.primitives)
        mixture_EK = torch.full((edges, primitives), 1.0 / primitives, device=probe_BCHW.device)
        example = {"x_BCHW": probe_BCHW[:EXAMPLES], "mixture_EK": mixture_EK}
        both, seed = _Both(self.supernet, child), derive_seed(self.seed, "growth", len(self.steps))
        plan = Widen(f"supernet.{layer}", width, units=self.units).plan(both, example, seed=seed)
        # The average shares nothing with a supernet: it is widened within a copy of both, which has its values.
        alike = None if self._averaged is None else copy.deepcopy(both)
        apply(plan, both, optimizer).release()
        if self.average is not None and alike is not None:
            self.average.fill(alike.child)
            apply_alike(plan, alike, both)
            self.average.replace(alike.child)
        self._note(kind=kind, genotype=child.genotype.to_json(), plan=plan.to_json())

    def _deepen(self, child: EvolvableNetwork, optimizer: Optimizer, stage: int, statistics: Iterable[Tensor]) -> str:
        number = self._add_cell(stage, optimizer)
        recalibrate_batchnorm(child, statistics, child.add_cell(stage, self.supernet, number))
        if (averaged := self._averaged) is not None:
            staged(averaged.backbone).add_cell(stage, copy.deepcopy(child.backbone.cell(number)))
        self._note(kind="depth", stage=stage)
        return f"backbone.cells.{number}"

    def _add_cell(self, stage: int, optimizer: Optimizer) -> int:
        with preserved_rng(derive_seed(self.seed, "growth", len(self.steps))):
            number = self.supernet.add_cell(stage)
        optimizer.param_groups[0]["params"].extend(self.supernet.backbone.cell(number).parameters())
        return number

    def advance(self, child: EvolvableNetwork) -> float | None:
        """Move the transition of a fresh cell on by one training step; its beta, None where there is none."""
        # Asked at every step: a walk over both networks would take a tenth of the time of a small one's step.
        if not self._deepened:
            return None
        cells = self._handed_over(child)
        if not cells:
            return None
        self.done += 1
        beta = min(self.done / self.total, 1.0)
        for cell in cells:
            assert cell.beta is not None
            cell.beta.fill_(beta)
        return beta

    def finalize(self, child: EvolvableNetwork) -> None:
        """Let cells whose transition is complete be ordinary ones; the output stays."""
        cells = self._cells(child)
        if any(cell.beta is not None for cell in cells) and not self._handed_over(child):
            for cell in cells:
                cell.beta = None
            self._note(kind="finalize")

    def replay(self, steps: tuple[dict[str, Any], ...], optimizer: Optimizer) -> None:
        """Give a fresh supernet the structure of a checkpoint; its state fills it afterwards.

        Raises:
            MorphError: the steps are those of another network.
        """
        for step in steps[len(self.steps) :]:
            if step["kind"] in ("width", "inner"):
                child = EvolvableNetwork.from_supernet(self.supernet, Genotype.from_json(step["genotype"]))
                plan = MorphPlan.from_json(step["plan"])
                apply(plan, _Both(self.supernet, child), optimizer).release()
            elif step["kind"] == "depth":
                self._add_cell(step["stage"], optimizer)
            else:
                for cell in self._cells(None):
                    cell.beta = None
            self.steps = (*self.steps, step)

    @property
    def grown(self) -> list[str]:
        """What grew so far, in order: `depth` or `width`."""
        return [step["kind"] for step in self.steps if step["kind"] in KINDS]

    @property
    def _deepened(self) -> bool:
        """Whether a fresh cell was put in since the last `finalize`."""
        last = next((step["kind"] for step in reversed(self.steps) if step["kind"] in ("depth", "finalize")), None)
        return last == "depth"

    def state_dict(self) -> dict[str, Any]:
        """How far the transition is, and how far the output ever moved."""
        return {"done": self.done, "total": self.total, "largest_difference": self.largest_difference}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.done, self.total = state["done"], state["total"]
        # Earlier versions did not keep it.
        self.largest_difference = state.get("largest_difference", 0.0)

    def _note(self, **step: Any) -> None:
        self.steps = (*self.steps, step)

    @property
    def _averaged(self) -> EvolvableNetwork | None:
        """The averaged child."""
        network = None if self.average is None else self.average.network
        assert network is None or isinstance(network, EvolvableNetwork)
        return network

    def _parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.supernet.parameters())

    def _cells(self, child: EvolvableNetwork | None) -> list[Cell]:
        networks = (self.supernet, child, None if child is None else self._averaged)
        modules = (module for network in networks if network is not None for module in network.modules())
        return [module for module in modules if isinstance(module, Cell)]

    def _handed_over(self, child: EvolvableNetwork) -> list[Cell]:
        """Cells whose transition is not complete."""
        return [cell for cell in self._cells(child) if cell.beta is not None and float(cell.beta) < 1.0]
