"""A network that is too wide for its compute is made narrower before it is trained.

B batch, C channels, H height, W width.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from lab.agent.dynamic import DynamicArchitecture
from lab.agent.run_config import EvolveConfig
from lab.agent.tracked_model import EXAMPLE
from lab.base import MorphError
from lab.morph import MorphReport, Prune, apply
from lab.morph.trace import Traces
from lab.nn import measure_flops
from lab.nn.flops import FORWARDS_OF_STEP
from lab.store import AlertEvent
from lab.train import EpochData, Split
from lab.train.settings import LEAST_EPOCHS

ROUNDS = 4
"""Times that all layers are made narrower, at most: operations do not fall just with the square of the widths."""
LEAST_UNITS = 2
"""That a layer keeps."""
TYPES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fit_widths(
    network: nn.Module,
    x_BCHW: Tensor,
    *,
    reach: Callable[[float], float],
    least: float,
    optimizer: Optimizer | None = None,
) -> tuple[MorphReport, ...]:
    """Make every layer of `network` narrower by one share until its compute reaches far enough.

    With e epochs for the network as it is, widths are multiplied by sqrt(e / least), since operations go with the
    square of a width. What a layer has learnt goes with its units: this is for fresh weights.

    Args:
        network: changed in place; layers whose width cannot change stay as they are.
        x_BCHW: an input on which the changes are planned, at least four samples where there is a BatchNorm.
        reach: epochs that the compute pays for, of a network of so many operations for one sample.
        least: epochs that it must pay for, > 0.
        optimizer: of the network; changed with it.

    Returns:
        The changes in order, their snapshots released; none where the compute reaches far enough.
    """
    reports: list[MorphReport] = []
    for _ in range(ROUNDS):
        epochs = reach(float(measure_flops(network, x_BCHW[:1])))
        if epochs >= least:
            break
        made = _scale_widths(network, x_BCHW, math.sqrt(epochs / least), optimizer)
        if not made:
            break
        reports += made
    return tuple(reports)


def fit_agent(agent: DynamicArchitecture, data: EpochData, evolve: EvolveConfig, *, ranks: int = 1) -> list[AlertEvent]:
    """Before the first step of a run: make the network of `agent` as narrow as the run's compute asks for.

    Args:
        evolve: names the compute, and whether the network may be made narrower.
        ranks: processes that share each training batch.

    Returns:
        What a person should know of it; empty where nothing was changed.
    """
    compute = evolve.compute
    if compute is None or agent.reports or not evolve.fits:
        return []
    x_BCHW, _ = next(data.selection())
    images = data.length(Split.TRAIN) * len(next(data.batches(Split.TRAIN, 0))[1]) * ranks

    def reach(flops: float) -> float:
        return compute / (FORWARDS_OF_STEP * flops * images)

    network, x_BCHW = agent.model, x_BCHW[:EXAMPLE]
    before, epochs = agent.tracked.parameters, reach(float(measure_flops(network, x_BCHW[:1])))
    reports = fit_widths(network, x_BCHW, reach=reach, least=LEAST_EPOCHS, optimizer=agent.optimizer)
    if not reports:
        return []
    agent.begin_from(reports)
    now = reach(float(measure_flops(network, x_BCHW[:1])))
    text = (
        f"The compute pays for {epochs:.1f} epochs of a network with {before:,} parameters. With "
        f"{agent.tracked.parameters:,} it pays for {now:.1f}; a plan gives at least {LEAST_EPOCHS}."
    )
    return [AlertEvent(level="info", title="Made narrower before the first step", text=text)]


def _scale_widths(network: nn.Module, x_BCHW: Tensor, share: float, optimizer: Optimizer | None) -> list[MorphReport]:
    """Multiply each layer's width by `share`, rounded down; layers that share a width are made narrower together."""
    wanted = {
        name: max(math.floor(_units(layer) * share), LEAST_UNITS)
        for name, layer in network.named_modules()
        if isinstance(layer, TYPES)
    }
    reports = []
    for name, units in wanted.items():
        if _units(network.get_submodule(name)) <= units:
            continue
        try:
            plan = Prune(name, units).plan(network, x_BCHW, traces=Traces())
        except MorphError:
            # Logits, or a width that something else in the network fixes.
            continue
        report = apply(plan, network, optimizer)
        report.release()
        reports.append(report)
    return reports


def _units(layer: nn.Module) -> int:
    """Width of what a linear layer or a convolution gives."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]
