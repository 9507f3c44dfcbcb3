"""Where a model is changed, and what became of it: sites by a rule that is data, and one verdict for each.

The verdict is reached without what `plan` itself measures: outputs in float64 before and after, two input sizes, eval
and train mode with the model's own fast paths, a backward, and the roll-back bit by bit.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lab.base import MorphError
from lab.morph import AddBranch, Deepen, InsertAttention, InsertResidual, Prune, Widen, apply, rollback
from lab.morph.trace import Traces

EXACT = 1e-9
"""Relative difference in float64 of an output that stays."""
ROUNDED = 1e-3
"""The same, of models that run in float32 only."""
MAX_TOKENS = 1024
CONVS = ("Conv1d", "Conv2d", "Conv2dSame", "ScaledStdConv2d", "StdConv2d")
LINEARS = ("Linear", "NormMlp", "Conv1D")
NORMS = ("LayerNorm", "LayerNorm2d", "BatchNorm2d", "BatchNormAct2d", "GroupNorm", "GroupNorm1", "RMSNorm")
KINDS: dict[str, Callable[[nn.Module], bool]] = {
    "convolution": lambda module: type(module).__name__ in CONVS,
    "linear": lambda module: type(module).__name__ in LINEARS,
    "norm": lambda module: type(module).__name__.endswith(NORMS),
    "block": lambda module: type(module).__name__.endswith(("Block", "Layer", "Bottleneck", "Mlp", "MLP", "Stage")),
}
SITES = {
    "Widen": ("convolution", "linear"),
    "Prune": ("convolution", "linear"),
    "Deepen": ("convolution", "linear"),
    "InsertResidual": ("block",),
    "InsertAttention": ("norm",),
    "AddBranch": ("convolution", "linear"),
}
"""Kinds of modules of each operation: the first, the middle and the last suitable one of each kind."""
ADDITIONS = ("Deepen", "InsertResidual", "InsertAttention", "AddBranch")
MEANINGLESS = {
    "it is a size of the model's output": "the width is what the model gives its caller",
    "rows of an embedding are chosen by number": "the width is the number of words",
    "one unit": "a width of one unit",
}
"""Reasons of refusals where no change makes sense, and why; at most a tenth of all sites."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one operation at one site."""

    model: str
    op: str
    site: str
    kind: str
    """exact, pruned, excluded, refused, wrong or crash."""
    reason: str = ""


def call(model: nn.Module, example: Any) -> Any:
    """The model's output for a tensor, a tuple or a dict of arguments."""
    return model(**example) if isinstance(example, dict) else model(example)


def suitable(model: nn.Module, example: Any) -> dict[str, list[str]]:
    """Modules of each kind that the forward calls and that read and give one tensor of one shape."""
    seen: dict[str, set[tuple[int, ...]]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensors = bool(args) and torch.is_tensor(args[0]) and torch.is_tensor(output)
            seen.setdefault(name, set()).add((*args[0].shape, -1, *output.shape) if tensors else ())

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        call(model, example)
    for handle in handles:
        handle.remove()
    fit = [name for name, shapes in seen.items() if len(shapes) == 1 and () not in shapes]
    modules = dict(model.named_modules())
    order = [name for name in modules if name in fit]
    found = {kind: [name for name in order if rule(modules[name])] for kind, rule in KINDS.items()}
    last = {
        name: next(iter(shapes))[next(iter(shapes)).index(-1) + 1 :] for name, shapes in seen.items() if name in fit
    }
    # Attention is between tokens, and its cost grows with their square.
    found["norm"] = [name for name in found["norm"] if len(last[name]) > 2 and _tokens(last[name]) <= MAX_TOKENS]
    return found


def _tokens(shape: tuple[int, ...]) -> int:
    return int(torch.tensor(shape[1:]).prod()) // min(shape[1:])


def sites(model: nn.Module, example: Any) -> list[tuple[str, str]]:
    """`(operation, module)`: the first, the middle and the last suitable module of each kind."""
    found, chosen = suitable(model, example), []
    for op, kinds in SITES.items():
        for kind in kinds:
            names = found[kind]
            picked = dict.fromkeys([names[0], names[len(names) // 2], names[-1]]) if names else {}
            chosen += [(op, name) for name in picked]
    return chosen


def outputs_of(model: nn.Module, examples: Iterable[Any]) -> list[torch.Tensor]:
    """All tensors that the model gives in eval and in train mode, on every example; statistics are put back."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    mode, leaves = model.training, []
    for training in (False, True):
        model.train(training)
        for example in examples:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                leaves += [item for item in pytree.tree_leaves(call(model, example)) if torch.is_tensor(item)]
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(kept[name])
    model.train(mode)
    return leaves


def in_double(thing: Any) -> Any:
    """A tensor tree in float64."""
    return pytree.tree_map(lambda x: x.double() if torch.is_tensor(x) and x.is_floating_point() else x, thing)


def difference(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    """Largest relative difference; infinite where shapes differ."""
    if [x.shape for x in before] != [x.shape for x in after]:
        return float("inf")
    worst = [float((a - b).abs().max() / b.abs().max().clamp(min=1e-12)) for a, b in zip(after, before, strict=True)]
    # A gap that is no number is the largest.
    return max([gap if gap == gap else float("inf") for gap in worst], default=float("inf"))


def judge(model: nn.Module, examples: list[Any], name: str, op: str, site: str, traces: Traces) -> Verdict:
    """The verdict on one operation at one site; the model comes back as it was."""
    said = {"model": name, "op": op, "site": site}
    try:
        return Verdict(**said, **_judged(model, examples, op, site, traces))
    except MorphError as error:
        reason = f"{error.expected}; got {error.got}"
        kind = "excluded" if any(why in reason for why in MEANINGLESS) else "refused"
        return Verdict(**said, kind=kind, reason=reason)
    # The judge of crashes takes every one of them.
    except Exception as error:  # noqa: BLE001
        line = (str(error).splitlines() or [""])[0]
        return Verdict(**said, kind="crash", reason=f"{type(error).__name__}: {line}"[:200])


def _judged(model: nn.Module, examples: list[Any], op: str, site: str, traces: Traces) -> dict[str, str]:
    plan = planned(model, examples[0], op, site, traces)
    try:
        doubled, inputs, bound = copy.deepcopy(model).double(), in_double(examples), EXACT
        before = outputs_of(doubled, inputs)
    except RuntimeError:
        doubled, inputs, bound = copy.deepcopy(model), examples, ROUNDED
        before = outputs_of(doubled, inputs)
    state = {key: value.clone() for key, value in doubled.state_dict().items()}
    report = apply(plan, doubled)
    after = outputs_of(doubled, inputs)
    gap = difference(before, after) if op != "Prune" else 0.0
    doubled.train()
    sum(x.sum() for x in pytree.tree_leaves(call(doubled, inputs[0])) if torch.is_tensor(x)).backward()
    rollback(report)
    back = doubled.state_dict()
    # The backward in train mode moved the statistics of BatchNorm, which the roll-back put back.
    if back.keys() != state.keys() or not all(torch.equal(back[key], state[key]) for key in state):
        return {"kind": "wrong", "reason": "the roll-back is not bit by bit"}
    if any(x.shape != y.shape for x, y in zip(before, after, strict=True)) or gap > bound:
        return {"kind": "wrong", "reason": f"the output differs by {gap:.1e}"}
    return {"kind": "pruned" if op == "Prune" else "exact"}


def planned(model: nn.Module, example: Any, op: str, site: str, traces: Traces) -> Any:
    """The plan, for the nearest legal width where the first is none."""
    module = model.get_submodule(site)
    simple = {
        "Deepen": Deepen,
        "InsertResidual": InsertResidual,
        "AddBranch": AddBranch,
        "InsertAttention": InsertAttention,
    }
    if op in simple:
        return simple[op](site).plan(model, example, traces=traces)
    width = module.weight.shape[1 if type(module).__name__ == "Conv1D" else 0]
    try:
        made = Widen(site, 2 * width) if op == "Widen" else Prune(site, max(1, width // 2))
        return made.plan(model, example, traces=traces)
    except MorphError as error:
        legal = error.hint.rpartition("the nearest legal width is ")[2]
        if not legal.isdigit():
            raise
        made = Widen(site, int(legal)) if op == "Widen" else Prune(site, int(legal))
        return made.plan(model, example, traces=traces)
