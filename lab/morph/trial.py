"""The trial of a plan: it is carried out on a copy, and both are run on the example in float64 and compared."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lab.base import MorphError
from lab.morph.edit import execute
from lab.morph.plan import MorphPlan
from lab.morph.steps import Wrap
from lab.morph.trace import Example, run
from lab.morph.twins import MODEL_ERRORS, copied, double, doubled_copy, doubled_tensor, release
from lab.nn import count_flops
from lab.state import preserved_rng

EXACT = 1e-10
"""Largest relative difference in float64 of an exact change."""
ROUNDING = 256
"""Rounding errors, relative, that an exact change may be off by where it is tried in the model's own dtype."""
FUSED = (nn.TransformerEncoderLayer, nn.TransformerEncoder, nn.MultiheadAttention)
"""Modules of torch that have another path in eval mode, which reads the weights of their parts and calls none."""
DROPOUTS = frozenset(
    {
        nn.functional.dropout,
        nn.functional.dropout1d,
        nn.functional.dropout2d,
        nn.functional.dropout3d,
        nn.functional.alpha_dropout,
        nn.functional.feature_alpha_dropout,
        torch.dropout,
        torch.dropout_,
        torch.feature_dropout,
        torch.alpha_dropout,
    }
)
STOCHASTIC = ("Dropout", "DropPath", "StochasticDepth", "DropBlock")


def tried(plan: MorphPlan, model: nn.Module, example: Example, exact: bool, *, doubled: bool = True) -> MorphPlan:
    """The plan with its figures: carried out on a copy and compared with another, in float64 where that runs.

    Args:
        plan: worked out for `model`, without figures.
        model: is not touched.
        example: an input.
        exact: whether the function must stay what it is.
        doubled: False tries in the model's own dtype.

    Raises:
        MorphError: the function does not stay, the changed model does not run, or what was added is never called.
    """
    note, bound = plan.note, EXACT
    if not doubled:
        kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
        bound = ROUNDING * torch.finfo(kind).eps
        note = "; ".join(filter(None, [note, f"tried in {kind}: the forward does not run in float64"]))
    # One copy at a time: of the model as it is only what it gives is kept.
    before = _before(model, example, doubled=doubled)
    if before is None:
        return tried(plan, model, example, exact, doubled=False)
    twin, inputs = (doubled_copy, double(example)) if doubled else (copied, example)
    after = twin(model)
    execute(plan, after, None)
    wraps = [step.path for step in plan.steps if isinstance(step, Wrap)]
    try:
        with _calls(after, wraps) as called:
            flops, difference = compare(before, after, inputs)
    except MODEL_ERRORS as error:
        where = _place(error, after)
        # The error holds the frames that failed, and these the copy.
        release(after)
        raise _failed(error, where) from error
    sizes = _count(model), _count(after)
    release(after)
    for path in wraps:
        # In every mode that ran: a parent may call the module in training and read its weights otherwise.
        for mode, name in ((False, "eval"), (True, "train")):
            if called["", mode] and not called[path, mode]:
                got = f"{path} is not called in {name} mode: its parent reads its weights itself, or leaves it out"
                raise MorphError("what is added to be run", got, "choose a module that is called, such as its parent")
    if exact and bound < difference <= ROUNDING * torch.finfo(torch.float32).eps:
        # transformers' normalisations, for instance, compute in float32 whatever they get.
        lower = _lowest_dtype(twin(model), inputs)
        if lower is not None:
            bound = ROUNDING * torch.finfo(lower).eps
            note = "; ".join(filter(None, [note, f"the forward itself computes in {lower}"]))
    # Not `>`: a difference that is NaN must not pass.
    if exact and not difference <= bound:
        got = f"a relative difference of {difference:.1e}"
        hint = "something in the forward depends on the width; leave it or choose another layer"
        raise MorphError(f"an output that stays within {bound:.1g}", got, hint)
    return replace(plan, exact=exact, max_difference=difference, parameters=sizes, flops=flops, note=note)


def _before(model: nn.Module, example: Example, *, doubled: bool) -> "Measured | None":
    """What the model as it is gives; None where that does not run in float64, and does in the model's own dtype.

    Raises:
        MorphError: it runs in neither.
    """
    twin = doubled_copy(model) if doubled else copied(model)
    try:
        return measured(twin, double(example) if doubled else example)
    except MODEL_ERRORS as error:
        release(twin)
        if not doubled or _runs(doubled_copy(model), double(example)) or not _runs(copied(model), example):
            raise _failed(error, "") from error
        return None
    finally:
        release(twin)


def _failed(error: BaseException, where: str) -> MorphError:
    expected = "a forward that runs with the change"
    return MorphError(f"{expected}, in {where}" if where else expected, _line(error), _lifted_by(error))


class _Dtypes(TorchDispatchMode):
    """Collects the dtypes of what operations give."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.found |= {leaf.dtype for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor)}
        return out


def _lowest_dtype(twin: nn.Module, example: Example) -> torch.dtype | None:
    """The coarsest floating dtype below float64 in which a forward of the float64 copy computes; None without any."""
    with _Dtypes() as dtypes:
        _outputs(twin, example, training=False)
    release(twin)
    lower = [kind for kind in dtypes.found if kind.is_floating_point and kind != torch.float64]
    return max(lower, key=lambda kind: torch.finfo(kind).eps, default=None)


def _runs(twin: nn.Module, example: Example) -> bool:
    """Whether the copy's forward runs in eval mode; the copy is used up."""
    try:
        _outputs(twin, example, training=False)
    except MODEL_ERRORS:
        return False
    finally:
        release(twin)
    return True


@contextmanager
def _calls(model: nn.Module, paths: list[str]) -> Iterator[Counter[tuple[str, bool]]]:
    """How often the model (an empty path) and each module are called in the block, by the model's mode."""
    called: Counter[tuple[str, bool]] = Counter()

    def count(path: str) -> Any:
        return lambda *_: called.update([(path, model.training)])

    # Without paths no hook at all: an encoder layer leaves its fused path where it has one.
    watched = ("", *paths) if paths else ()
    handles = [model.get_submodule(path).register_forward_hook(count(path)) for path in watched]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def _place(error: BaseException, model: nn.Module) -> str:
    """The innermost module of `model` whose forward was running, as `path (class)`; empty where none was."""
    names = {id(module): name for name, module in model.named_modules()}
    found, frame = "", error.__traceback__
    while frame is not None:
        module = frame.tb_frame.f_locals.get("self")
        if isinstance(module, nn.Module) and names.get(id(module)):
            found = f"{names[id(module)]} ({type(module).__name__})"
        frame = frame.tb_next
    return found


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _lifted_by(error: BaseException) -> str:
    """What would let the forward run."""
    if isinstance(error, AttributeError):
        return "the forward reads an attribute of the changed module that has another meaning now; choose another one"
    if any(word in str(error) for word in ("size", "shape", "dimension", "channels", "elements")):
        return "look for a size written into the forward, or choose another layer"
    return "run the model on the example in eval and in train mode, and see what raises"


@dataclass(frozen=True)
class Measured:
    """What a model gives for an example, all outputs of a forward one after the other; without chance."""

    flops: int
    """Of a forward in eval mode."""
    eval: list[Tensor]
    fused: list[Tensor] | None
    """The same by torch's fused paths; None where the model has none of them."""
    train: list[Tensor] | None
    """None where the model cannot run in train mode on the example, as BatchNorm of a single value."""


def measured(model: nn.Module, example: Example) -> Measured:
    """What `model`, which is changed, gives: modes, statistics, dropout."""
    # Eval mode first: a forward in train mode moves the statistics of BatchNorm.
    with count_flops() as count:
        plain = _kept(_outputs(model, example, training=False))
    flops = count.total
    fused = None
    # Operations are counted without it.
    if torch.backends.mha.get_fastpath_enabled() and any(isinstance(module, FUSED) for module in model.modules()):
        fused = _kept(_outputs(model, example, training=False))
    try:
        train = _kept(_outputs(model, example, training=True))
    except ValueError:
        train = None
    return Measured(flops, plain, fused, train)


def _kept(outputs: list[Tensor]) -> list[Tensor]:
    # What is given may be a weight or a statistic, which the next forward changes.
    return [output.clone() for output in outputs]


def compare(before: Measured, after: nn.Module, example: Example) -> tuple[tuple[int, int], float]:
    """FLOPs of both models, and the largest max|y' - y| / max|y| over all outputs, in the modes that `before` ran in.

    The model is changed as by `measured`.
    """
    with count_flops() as count:
        worst = max(map(_relative, _outputs(after, example, training=False), before.eval), default=0.0)
    flops = before.flops, count.total
    for expected, training in ((before.fused, False), (before.train, True)):
        if expected is not None:
            worst = max([worst, *map(_relative, _outputs(after, example, training=training), expected)])
    return flops, worst


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class _WithoutChance(TorchFunctionMode):
    """Functions that drop at random give back what they get."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func is nn.functional.scaled_dot_product_attention:
            args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
            kwargs = {**kwargs, "dropout_p": 0.0} if len(args) <= 4 else kwargs
        return func(*args, **kwargs)


def _outputs(model: nn.Module, example: Example, training: bool) -> list[Tensor]:
    model.train(training)
    for module in model.modules():
        stochastic = any(word in type(module).__name__ for word in STOCHASTIC)
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in name.lower() or (stochastic and name == "p")):
                setattr(module, name, 0.0)
    # What is random beyond that draws the same for both.
    with torch.no_grad(), preserved_rng(0), _WithoutChance():
        leaves = pytree.tree_leaves(run(model, example))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _relative(after: Tensor, before: Tensor) -> float:
    if after.shape != before.shape:
        return float("inf")
    if before.numel() == 0:
        return 0.0
    gap = float((doubled_tensor(after) - doubled_tensor(before)).abs().max())
    largest = float(before.abs().max())
    if gap == 0.0:
        return 0.0
    # A gap that is no number is no small one.
    return gap / largest if largest > 0.0 and isfinite(gap) else float("inf")
