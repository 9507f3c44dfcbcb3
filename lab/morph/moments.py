"""The state of an optimizer beside each weight: what is carried, what cannot be, what weight decay leaves of it.

With G the share of a copied weight in the gradient and W in the value of the old one, the copy's own gradients would
have given G m + (W - G) d: m the old moment, d what an L2 penalty, decay * weight, added up to in it. Carried is G m.
How much d is no optimizer keeps, so it stays a figure: `decay_gap`.
"""

from collections.abc import Callable, Mapping
from math import inf, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import MorphError
from lab.morph.plan import MorphPlan
from lab.morph.steps import TensorStep

# Power of the gradient that each entry of an optimizer's state grows with.
MOMENTS = {
    "momentum_buffer": 1,
    "exp_avg": 1,
    "grad_avg": 1,
    "exp_inf": 1,
    "prev": 1,
    "exp_avg_sq": 2,
    "max_exp_avg_sq": 2,
    "square_avg": 2,
    "sum": 2,
    "acc_delta": 0,
    "step_size": 0,
}
# Option of the group that an entry starts from, where that is not 0.
STARTS = {"step_size": "lr", "sum": "initial_accumulator_value"}


def _average(place: int, default: float) -> Callable[[Mapping[str, Any], float], float]:
    """Weight of all gradients together in an average that forgets by `betas[place]`, after so many steps."""

    def weight(options: Mapping[str, Any], steps: float) -> float:
        rates = options.get("betas", (default, default))
        return 1.0 - float(rates[min(place, len(rates) - 1)]) ** steps

    return weight


def _sgd(options: Mapping[str, Any], steps: float) -> float:
    kept = float(options.get("momentum", 0.0))
    # SGD counts no steps: as after many, or after the first, which is not dampened.
    return max(1.0, (1.0 - float(options.get("dampening", 0.0))) / (1.0 - kept)) if kept < 1.0 else inf


def _forgetting(options: Mapping[str, Any], steps: float) -> float:
    return 1.0 - float(options.get("alpha", options.get("rho", 0.0))) ** steps


# How many times a penalty that stays the same is in each entry, or in its root, where that is a sum of squares.
MEMORY: dict[str, Callable[[Mapping[str, Any], float], float]] = {
    "momentum_buffer": _sgd,
    "exp_avg": _average(0, 0.0),
    "grad_avg": _forgetting,
    "exp_inf": lambda options, steps: 1.0,
    "exp_avg_sq": lambda options, steps: sqrt(_average(1, 0.0)(options, steps)),
    "max_exp_avg_sq": lambda options, steps: sqrt(_average(1, 0.0)(options, steps)),
    "square_avg": lambda options, steps: sqrt(_forgetting(options, steps)),
    "sum": lambda options, steps: sqrt(steps),
}


def power_of(key: str, state: Mapping[str, Any]) -> int:
    """Power of the gradient that an entry of a parameter's state grows with."""
    # RMSprop's buffer holds gradients that were divided by their own root mean square.
    return 0 if key == "momentum_buffer" and "square_avg" in state else MOMENTS[key]


def decay_gap(shift: Tensor, state: Mapping[str, Any], options: Mapping[str, Any], optimizer: Optimizer) -> float:
    """How far carried moments may be off because the optimizer adds weight decay to the gradient.

    max|decay * shift| * memory / max|moment|, the largest of all entries, roots taken of sums of squares. It holds for
    weights that hardly move while the moments remember them: their drift is left out. An optimizer that this project
    does not know is taken to add its `weight_decay` to the gradient.

    Args:
        shift: (W - G) times the old weight, in the copy's shape.
        state: the entries of the copy, already carried.
        options: of its group.
        optimizer: the one that has the group.

    Returns:
        The relative difference; 0 where the optimizer decays weights beside the gradient, as AdamW does.
    """
    apart = isinstance(optimizer, torch.optim.AdamW) or bool(options.get("decoupled_weight_decay"))
    penalty = abs(float(options.get("weight_decay", 0.0))) * float(shift.abs().max()) if shift.numel() else 0.0
    if apart or penalty == 0.0:
        return 0.0
    steps, found = float(state.get("step", inf)), 0.0
    for key, value in state.items():
        if key not in MEMORY or not isinstance(value, Tensor) or value.shape != shift.shape:
            continue
        power = power_of(key, state)
        if power == 0:
            # A quotient of a gradient and a root: both are off.
            key, value, power, factor = "square_avg", state["square_avg"], 2, 2.0
        else:
            factor = 1.0
        largest = float(value.abs().max()) ** (1.0 / power)
        found = max(found, factor * penalty * MEMORY[key](options, steps) / largest if largest else inf)
    return found


def check_optimizer(plan: MorphPlan, model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse before anything is changed what could not be carried.

    Raises:
        MorphError: a trainable parameter is in no group, or the state holds an entry that is not understood.
    """
    kind = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.LBFGS):
        got = f"{kind}, whose history is one vector of all parameters"
        raise MorphError("an optimizer with state for each parameter", got, "make a new LBFGS after the change")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise MorphError(
            "an optimizer that holds every trainable parameter", f"none holds {missing[0]}", "pass that one"
        )
    for state in optimizer.state.values():
        for key, value in state.items():
            # Bytes with a scale for each block, for instance: nothing that is copied or put back entry by entry.
            if isinstance(value, Tensor) and type(value) not in (Tensor, nn.Parameter):
                got = f"{key} of {kind}, a {type(value).__name__}"
                raise MorphError("state in plain tensors", got, "use SGD, Adam or AdamW, or make a new one after it")
    named = dict(model.named_parameters())
    for step in plan.steps:
        if not isinstance(step, TensorStep) or step.tensor not in named:
            continue
        parameter = named[step.tensor]
        for key, value in optimizer.state.get(parameter, {}).items():
            known = isinstance(value, Tensor) and (
                not value.dim() or (key in MOMENTS and value.shape == parameter.shape)
            )
            if not known and not isinstance(value, int | float | bool | str | type(None)):
                got = f"{key} of {kind}, {_described(value)} for {step.tensor} {tuple(parameter.shape)}"
                raise MorphError(f"state among {', '.join(MOMENTS)}", got, "use SGD, Adam or AdamW, or make a new one")


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
