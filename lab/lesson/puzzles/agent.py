"""Tasks of lesson 13: parameters that nobody steps, a change that is all or nothing, a trial and its error."""

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

Optimizers = Sequence[torch.optim.Optimizer]


def _unstepped(answer: Answer) -> list[CheckResult]:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("trunk", "policy", "value", "frozen")})
    model["frozen"].requires_grad_(False)
    optimizers = [torch.optim.SGD(model[name].parameters(), lr=0.1) for name in ("policy", "value")]
    found = set(answer(model, optimizers))
    return [
        check(
            f"{part} is named",
            [f"{part}.{name}" in found for name, _ in model[part].named_parameters()],
            [part == "trunk"] * 2,
            meaning="wanted are the names of the trainable parameters that no optimizer holds",
        )
        for part in model
    ]


def _names_without(model: nn.Module, optimizers: Optimizers, *, frozen: bool = False) -> Iterable[str]:
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) not in held and (frozen or p.requires_grad)]


UNSTEPPED = Exercise(
    "parameters that nobody steps",
    hints=(
        "Each optimizer has param_groups, and each group a list under 'params'. Collect the id() of all of them.",
        "Go through model.named_parameters(): wanted is a name whose tensor requires_grad and whose id is not held.",
    ),
    compare=_unstepped,
    mistakes={
        "only the first optimizer was asked": lambda model, optimizers: _names_without(model, optimizers[:1]),
        "a frozen parameter is meant to stay: requires_grad tells it": lambda model, optimizers: _names_without(
            model, optimizers, frozen=True
        ),
        "these are the parameters that are held; wanted are the others": lambda model, optimizers: sorted(
            {name for name, p in model.named_parameters() if p.requires_grad} - set(_names_without(model, optimizers))
        ),
    },
)


def _grow(model: nn.Sequential) -> None:
    model.append(nn.Linear(3, 3))


def _grow_and_fail(model: nn.Sequential) -> None:
    _grow(model)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    raise RuntimeError("the action failed half-way")


def _attempt(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = nn.Linear(2, 3)
    net, weight = nn.Sequential(first), first.weight.detach().clone()
    failed = answer(net, _grow_and_fail)
    layers, values, same = len(net), first.weight.detach().clone(), failed is net
    grown = answer(nn.Sequential(nn.Linear(2, 3)), _grow)
    return [
        check("layers after a failure", layers, 1, meaning="an action that failed has left a layer behind"),
        check("weights after a failure", values, weight, meaning="an action that failed has left other weights behind"),
        check("the network itself after a failure", same, True, meaning="after a failure, return the model as it came"),
        check("layers after a success", len(grown), 2, meaning="an action that went through must be kept"),
    ]


def _on_itself(model: nn.Sequential, action: Callable[[nn.Sequential], None]) -> nn.Sequential:
    try:
        action(model)
    except RuntimeError:
        return model
    return model


def _always_a_copy(model: nn.Sequential, action: Callable[[nn.Sequential], None]) -> nn.Sequential:
    trial = copy.deepcopy(model)
    try:
        action(trial)
    except RuntimeError:
        return copy.deepcopy(model)
    return trial


ATTEMPT = Exercise(
    "all of it, or not one bit",
    hints=(
        "What if the action gets a copy.deepcopy(model), and the model itself is not touched?",
        "try: action(trial); except RuntimeError: return model. After that, return trial.",
    ),
    compare=_attempt,
    mistakes={
        "the action was let loose on the model itself: half of it stays": _on_itself,
        "after a failure this is a copy: the optimizer still holds the tensors of the model": _always_a_copy,
        "the change is thrown away even where it went through": lambda model, action: model,
    },
)


def _losses() -> dict[str, tuple[Tensor, Tensor]]:
    """Name of a trial -> losses of the control copy and of the changed network, sample by sample."""
    numbers = torch.Generator().manual_seed(1)
    control = torch.rand(400, generator=numbers, dtype=torch.float64).square() * 4
    noise = torch.randn(400, generator=numbers, dtype=torch.float64)
    noise -= noise.mean()
    shifts = {"better": -0.03 + 0.05 * noise, "worse": 0.03 + 0.05 * noise, "no change": 0 * noise}
    shifts |= {"within the noise": 0.002 + 0.1 * noise, "broken": noise * torch.nan}
    return {name: (control, control + shift) for name, shift in shifts.items()}


def _paired_error(answer: Answer) -> list[CheckResult]:
    control, changed = _losses()["better"]
    wanted = ((changed - control).var().item() / len(control)) ** 0.5
    meaning = "wanted is the deviation of the differences, divided by the root of their number"
    return [check("standard error", float(answer(control, changed)), wanted, atol=1e-5, meaning=meaning)]


PAIRED_ERROR = Exercise(
    "an error in pairs",
    hints=(
        "The samples are the same ones: first take the difference of each.",
        "The spread of a mean of n values is their standard deviation / sqrt(n).",
    ),
    compare=_paired_error,
    mistakes={
        "two separate means: what makes a sample hard for both has not cancelled": lambda control, changed: (
            ((control.var() + changed.var()).item() / len(control)) ** 0.5
        ),
        "this is the spread of one difference; that of their mean is smaller by sqrt(n)": lambda control, changed: (
            (changed - control).std().item()
        ),
        "divide by the root of the number, not by the number": lambda control, changed: (
            (changed - control).std().item() / len(control)
        ),
    },
)


def _decide(answer: Answer) -> list[CheckResult]:
    wanted = {"better": True, "worse": False, "no change": True, "within the noise": True, "broken": False}
    wrong = {
        "better": "a change that is better was not kept",
        "worse": "a change that is worse by many errors was kept",
        "no change": "a change that does no harm was not kept",
        "within the noise": "a rise smaller than one error is no reason to throw a change away",
        "broken": "a network whose losses are no numbers was kept: NaN is neither larger nor smaller than anything",
    }
    return [check(name, bool(answer(*losses)), wanted[name], meaning=wrong[name]) for name, losses in _losses().items()]


def _measured(control: Tensor, changed: Tensor) -> tuple[float, float]:
    difference = changed - control
    return difference.mean().item(), difference.std().item() / len(difference) ** 0.5


DECIDE = Exercise(
    "keep it or take it back",
    hints=(
        "Take the mean of the differences and the error in pairs, as above.",
        "Every comparison with NaN is false. Ask whether the change is good enough, not whether it is bad.",
    ),
    compare=_decide,
    mistakes={
        "`not mean > error` is true for NaN: a broken network is kept": lambda control, changed: (
            not _measured(control, changed)[0] > _measured(control, changed)[1]
        ),
        "without the error, chance decides about a change within the noise": lambda control, changed: (
            _measured(control, changed)[0] <= 0
        ),
        "the error is that of one sample, so that nearly everything is within it": lambda control, changed: (
            (changed - control).mean() <= (changed - control).std()
        ),
        "the sign is turned round: above 0 the change is worse": lambda control, changed: (
            -_measured(control, changed)[0] <= _measured(control, changed)[1]
        ),
    },
)
