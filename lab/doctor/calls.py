"""The calls of a step: every call of torch with its line, its inputs and what became of the gradient.

Covered: calls from Python on this thread, in forward and in parts that backward runs again. While an optimizer steps
nothing is recorded. Compiled functions run uncompiled where torch's compiler is loaded.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointFunction

from lab.doctor.gradients import GradientWatch
from lab.doctor.modes import HOOK, discover
from lab.doctor.place import Site, call_site
from lab.doctor.redraw import DRAWS, Redraws, stream
from lab.doctor.values import FINITE, NAN, TO_PYTHON, CallRecord, Values, spread

DETACH, NO_GRAD, CAST, OPERATION, CHECKPOINT = (
    "detach",
    "no_grad",
    "a cast to whole numbers",
    "an operation without a gradient",
    "a reentrant checkpoint",
)

_DATA: Any = Tensor.data
_GRAD: Any = Tensor.grad
_VIEWS = [getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH", "real", "imag")]
_BACKWARDS = (Tensor.backward, torch.autograd.backward, torch.autograd.grad)
_ACCESSORS = ("__get__", "__set__", "__delete__")
_TAKES = frozenset(["item", "tolist", "numpy", "__array__", "__float__", "__int__", "__bool__", "__index__"])
_MAKES = frozenset(["tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "full", "from_dlpack"])
_CASTS = frozenset(["to", "type", "long", "int", "short", "char", "byte", "bool", "type_as"])
_ROUTES = frozenset(
    [
        "topk",
        "argmax",
        "argmin",
        "argsort",
        "sort",
        "nonzero",
        "unique",
        "one_hot",
        "bincount",
        "multinomial",
        "__bool__",
        "item",
        "tolist",
        "rand",
        "bernoulli",
    ]
)
_ARITHMETIC = frozenset(
    f"{side}{name}{end}"
    for name in ("add", "sub", "mul", "div", "truediv", "pow")
    for side, end in (("", ""), ("__", "__"), ("__r", "__"), ("__i", "__"))
) | {"rsub", "add_", "sub_", "mul_", "div_"}
"""Calls that compute with a number of Python's."""
_UNSCALE = "_amp_foreach_non_finite_check_and_unscale_"


class CallWatch(TorchFunctionMode):
    """Records calls.

    Args:
        owned: identities of leaves whose gradients somebody else puts back.
        walk: find the nodes of the graph behind each result, where torch does not tell of them.
    """

    def __init__(self, owned: frozenset[int], *, walk: bool) -> None:
        super().__init__()
        self._walk = walk
        self._current: CallRecord | None = None
        self.gradients = GradientWatch(self._site)
        self.values = Values(owned)
        self.losses: list[CallRecord] = []
        """What backward was called on."""
        self.routes: list[CallRecord] = []
        """Calls before backward by which values decide what runs."""
        self.norms: dict[int, tuple[bool, Site | None]] = {}
        """By identity of a BatchNorm's running mean: whether it ran in train mode, and where."""
        self.redraws = Redraws()
        self.erased: dict[int, Site | None] = {}
        """Parameters whose gradient was removed after backward gave it, and where."""
        self.scaled = False
        """A GradScaler looked at the gradients."""
        self.calls = 0
        self._off = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, calls are not seen, as far as nobody has laid another mode over this one."""
        stack = torch.overrides._get_current_function_mode_stack()
        if not stack or stack[-1] is not self:
            before, self._off = self._off, True
            yield
            self._off = before
            return
        with torch.overrides._pop_mode_temporarily():
            yield

    def _site(self) -> Site | None:
        return self._current.site if self._current is not None else call_site(sys._getframe(2))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._off:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in _ACCESSORS:
            if func == _GRAD.__set__:
                self._set_gradient(args)
            if func != _DATA.__get__ and func not in _VIEWS:
                return func(*args, **kwargs)
            name = "data" if func == _DATA.__get__ else name
        if func in _BACKWARDS:
            return self._backward(func, args, kwargs)
        return self._call(func, name, args, kwargs)

    def _call(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = _tensors_of(args, kwargs)
        frame = sys._getframe(2)
        self.calls += 1
        parents = tuple([self.values.of(tensor) for tensor in inputs])
        record = CallRecord(name, call_site(frame), parents, number=self.calls)
        if self.values.taken and name in _ARITHMETIC and float in map(type, args):
            record.parents = (*parents, *self.values.taken)
        for parent in parents:
            if parent.leaf:
                self.values.uses.setdefault(parent.leaf, record)
        needs = any(tensor.requires_grad for tensor in inputs)
        state = stream() if name in DRAWS else 0
        if name == "batch_norm" and len(args) > 1 and isinstance(args[1], Tensor):
            training = args[5] if len(args) > 5 else kwargs.get("training", False)
            self.norms[id(args[1])] = (bool(training), record.site)
        before, self._current = self._current, record
        try:
            result = func(*args, **kwargs)
        finally:
            self._current = before
        if name in DRAWS and state != stream():
            self.redraws.drew(name, record.site, state, frame)
        if name in _ROUTES and not self.losses:
            self.routes.append(record)
        results = _results(result, name, args)
        if results:
            self._keep(record, results, inputs, needs, frame)
        elif name in _TAKES:
            record.cut = TO_PYTHON if needs else ""
            self.values.taken.append(record)
        elif name == _UNSCALE:
            self.scaled = True
        if self._walk:
            discover(self.gradients, result)
        return result

    def _keep(self, record: CallRecord, results: list[Tensor], inputs: list[Tensor], needs: bool, frame: Any) -> None:
        if record.operation in _MAKES and not any(isinstance(each, Tensor) for each in inputs):
            record.parents = tuple(self.values.taken)
        record.dtype = results[0].dtype
        if needs and not any(each.requires_grad for each in results):
            record.cut = _why_cut(record.operation, results, frame)
        # a view has no values of its own
        suspect = any(parent.values != FINITE for parent in record.parents)
        for each in results:
            if (suspect or not each._is_view()) and (found := spread(each)) != FINITE:
                record.values = NAN if NAN in (found, record.values) else found
            self.values.keep(each, record)

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
        losses = [given] if isinstance(given, Tensor) else [item for item in given or () if isinstance(item, Tensor)]
        self.losses += [self.values.of(loss) for loss in losses]
        if self._walk:
            discover(self.gradients, losses)
        with self.redraws.in_backward():
            return func(*args, **kwargs)

    def _set_gradient(self, args: tuple[Any, ...]) -> None:
        owner, value = args
        if value is None and id(owner) in self.gradients.reached:
            self.erased[id(owner)] = call_site(sys._getframe(2))


@contextmanager
def watching_calls(owned: frozenset[int]) -> Iterator[CallWatch]:
    """Record every call and every node inside."""
    hook = getattr(torch.autograd.graph, HOOK, None)
    watch = CallWatch(owned, walk=hook is None)
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if hook is not None:
            stack.enter_context(hook(watch.gradients.add))
        stack.callback(watch.gradients.close)
        stack.callback(watch.values.close)
        stack.enter_context(watch)
        yield watch


def _tensors_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, Tensor)]
    return found


def _results(result: Any, name: str, args: tuple[Any, ...]) -> list[Tensor]:
    """The tensors that the call made or wrote to."""
    if isinstance(result, Tensor):
        found = [result]
    elif isinstance(result, list | tuple):
        found = _tensors_of(tuple(result), {})
    elif name == "__setitem__":
        found = [args[0]]
    else:
        return []
    if (name == "__setitem__" or name.endswith("_")) and found and found[0]._base is not None:
        found.append(found[0]._base)
    return found


def _why_cut(name: str, results: list[Tensor], frame: Any) -> str:
    if name in ("detach", "detach_", "data"):
        return DETACH
    if not torch.is_grad_enabled():
        here = frame
        while here is not None:
            if here.f_code is CheckpointFunction.forward.__code__:
                return CHECKPOINT
            here = here.f_back
        return NO_GRAD
    floating = any(each.is_floating_point() or each.is_complex() for each in results)
    return CAST if name in _CASTS and not floating else OPERATION
