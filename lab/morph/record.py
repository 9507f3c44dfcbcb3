"""The operations of one forward, in order, and which tensor goes from one to the next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
READS_MEMORY = frozenset({"tolist", "numpy", "__array__", "__dlpack__", "data_ptr"})
"""Methods of a tensor that give its values, or the way to them, past torch's operations."""


class _ValuesAskedError(RuntimeError):
    """A forward on values does what a forward without any could not, or writes where it must not."""


class TracedTensor:
    """One tensor of the forward: its shape, whether anything reads it, and what is found out about it later."""

    __slots__ = ("shape", "used", "value", "varies")

    def __init__(self, shape: Sequence[int], value: Any = None, *, varies: bool = False) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.used = False
        self.value = value
        self.varies = varies
        """Whether its values depend on weights, inputs or chance; else any forward of these shapes has the same."""


@dataclass(frozen=True)
class Call:
    """One operation that ran."""

    target: Any
    args: tuple[Any, ...]
    """Each tensor as its `TracedTensor`, all else as it is."""
    kwargs: dict[str, Any]
    outputs: tuple[TracedTensor | None, ...]
    """None for what is no tensor."""


class Recorder(TorchDispatchMode):
    """Records every operation inside its block.

    Args:
        named: tensors that the forward begins with, each with what is known of it.
        guarded: where the forward runs on values: tensors whose memory no operation may write to; an operation that
            gives values to Python, which may branch on them, raises as well, unless these are the same in any forward.
            None for tensors without values, which see to that themselves.
    """

    supports_higher_order_operators = True

    def __init__(self, named: Iterable[tuple[Tensor, TracedTensor]], guarded: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.refused = ""
        """What the forward asked for that it must not; it may have caught the error."""
        self.sized_by_values = False
        """Whether a result's size depends on values, as how many tokens an expert gets."""
        self._slots = WeakTensorKeyDictionary()
        for tensor, slot in named:
            self._slots[tensor] = slot
        self._guarded = None if guarded is None else {tensor.untyped_storage()._cdata for tensor in guarded}
        self._kinds: dict[Any, _Kind] = {}
        self._varies = False
        # Memory of constants that something was written to since.
        self._written: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._kinds[func] = _kind(func)
        if kind.question:
            return func(*args, **kwargs)
        if kind.composite:
            # Where autograd is left out, as in inference mode, what it would have taken apart comes whole.
            with self:
                return func.decompose(*args, **kwargs)
        self._varies = kind.draws
        noted, named = tuple(self.slots(args)), self.slots(kwargs)
        varies = self._varies
        if self._guarded is not None:
            self._check(func, kind, args, kwargs, varies)
        result = func(*args, **kwargs)
        outputs = result if isinstance(result, list | tuple) else (result,)
        self.calls.append(Call(func, noted, named, tuple(self._made(item, varies) for item in outputs)))
        return result

    def _check(self, func: Any, kind: "_Kind", args: Any, kwargs: dict[str, Any], varies: bool) -> None:
        assert self._guarded is not None
        if kind.reads and varies:
            self.refuse(f"the values that {func} reads")
        if kind.sized and varies:
            masks = [] if func is not aten.index.Tensor else [item for item in args[1] if _is_mask(item)]
            if any(mask.dim() > 1 for mask in masks):
                self.refuse("a mask over more than one dimension")
            self.sized_by_values |= func is not aten.index.Tensor or bool(masks)
        for number, name in kind.written:
            item = args[number] if number < len(args) else kwargs.get(name)
            for each in item if isinstance(item, list | tuple) else [item]:
                place = each.untyped_storage()._cdata if isinstance(each, Tensor) else None
                if place in self._guarded:
                    self.refuse(f"to write to a weight or an input by {func}")
                if place is not None and varies:
                    self._written.add(place)

    def refuse(self, what: str) -> None:
        """Raise, and remember why.

        Raises:
            _ValuesAskedError: always.
        """
        self.refused = what
        raise _ValuesAskedError(what)

    def slots(self, item: Any) -> Any:
        """The same with each tensor as its slot; a tensor that no recorded operation made is a constant."""
        if isinstance(item, Tensor):
            slot = self._slots.get(item)
            slot = TracedTensor(item.shape) if slot is None else slot
            slot.used = True
            if self._written and not slot.varies:
                slot.varies = item.untyped_storage()._cdata in self._written
            self._varies |= slot.varies
            return slot
        if isinstance(item, list | tuple):
            return [self.slots(each) for each in item]
        return {key: self.slots(each) for key, each in item.items()} if isinstance(item, dict) else item

    def _made(self, item: Any, varies: bool) -> TracedTensor | None:
        if not isinstance(item, Tensor):
            return None
        self._slots[item] = slot = TracedTensor(item.shape, varies=varies)
        return slot


@dataclass(frozen=True)
class _Kind:
    question: bool = False
    """Asks for the device of a tensor, as tensors without values let Python do."""
    composite: bool = False
    """Made of other operations."""
    draws: bool = False
    """Its result is random."""
    reads: bool = False
    """Gives values to Python."""
    sized: bool = False
    """Its result's size depends on values."""
    written: tuple[tuple[int, str], ...] = ()
    """Number and name of each argument that it writes to."""


def _kind(func: Any) -> _Kind:
    if not isinstance(func, torch._ops.OpOverload):
        # Of higher order, such as a loop: no rule knows one.
        return _Kind()
    if func.namespace == "prim":
        return _Kind(question=True)
    arguments = enumerate(func._schema.arguments)
    return _Kind(
        composite=torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE),
        draws=torch.Tag.nondeterministic_seeded in func.tags,
        reads=torch.Tag.data_dependent_output in func.tags,
        sized=torch.Tag.dynamic_output_shape in func.tags,
        written=tuple((n, item.name) for n, item in arguments if item.alias_info and item.alias_info.is_write),
    )


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


class WithoutReads(TorchFunctionMode):
    """Beside a `Recorder` on values: what gives a tensor's values past torch's operations raises."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in READS_MEMORY:
            self._recorder.refuse(f"the values that {func.__name__} reads")
        if func is nn.functional.one_hot:
            return _one_hot(*args, **kwargs)
        return func(*args, **kwargs)


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """As `nn.functional.one_hot`, which checks the values of a tensor that has some."""
    if num_classes < 1:
        return nn.functional.one_hot(tensor, num_classes)
    return (tensor.unsqueeze(-1) == torch.arange(num_classes, device=tensor.device)).long()
