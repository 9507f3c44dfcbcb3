"""Find and copy the data of meta tensors: from a state dict, else from a real twin of the model, else not at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lab.base import MaterializeError
from lab.device.inventory import HeldTensor, inventory
from lab.device.replace import view_of

KEPT, STATE, FACTORY = "kept", "state", "factory"


@dataclass(kw_only=True, eq=False)
class Slot:
    """One tensor with all its names, and the data found for it."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)
    source: Tensor | None = None
    origin: str = KEPT


def slots_of(held: tuple[HeldTensor, ...]) -> list[Slot]:
    """One slot for each tensor, with all of its names, in the order of the model."""
    by_tensor: dict[int, Slot] = {}
    for item in held:
        slot = by_tensor.setdefault(id(item.tensor), Slot(tensor=item.tensor))
        if item.name not in slot.names:
            slot.names.append(item.name)
    return list(by_tensor.values())


def find_sources(hollow: list[Slot], state: Mapping[str, Tensor], factory: Callable[[], nn.Module] | None) -> None:
    """Write source and origin into each slot.

    Raises:
        MaterializeError: a slot has no source, or one that does not fit.
    """
    for slot in hollow:
        _take(slot, STATE, {name: state[name] for name in slot.names if name in state})
    missing = _uncovered(hollow)
    if missing and factory is not None:
        twin = factory()
        _refuse_same(twin, hollow)
        values = {item.name: item.tensor for item in inventory(twin)}
        for slot in missing:
            _take(slot, FACTORY, {name: values[name] for name in slot.names if name in values})
        missing = _uncovered(hollow)
    if not missing:
        return
    names = [" = ".join(slot.names) for slot in missing]
    got = f"{len(names)} meta tensors without one: {', '.join(names)}"
    if state and len(missing) == len(hollow):
        got += f" (the {len(state)} keys of state are others, the first is {next(iter(state))!r})"
    given = "another" if factory is not None else "a"
    hint = f"give their values in state, or {given} factory that builds the model with data"
    raise MaterializeError("a source for the data of every meta tensor", got, hint)


def _take(slot: Slot, origin: str, values: dict[str, Tensor]) -> None:
    if not values:
        return
    name, value = next(iter(values.items()))
    for other, again in values.items():
        _refuse_unlike(slot.tensor, other, again, origin)
        if again is not value and not torch.equal(again.to(value.device), value):
            got = f"two of {origin} that differ: {name} and {other}"
            raise MaterializeError(f"one value for the tied {' = '.join(slot.names)}", got, "give one of them")
    slot.source, slot.origin = value, origin


def _uncovered(hollow: list[Slot]) -> list[Slot]:
    """The slots without a source; one that is a view of a storage that another slot fills has that slot's."""
    # Only data that fill their storage from its start without gaps can stand for the views of it.
    full = {
        slot.tensor.untyped_storage()._cdata: slot
        for slot in hollow
        if slot.source is not None and _extent(slot.tensor) == slot.tensor.numel() * slot.tensor.element_size()
    }
    missing = []
    for slot in hollow:
        if slot.source is not None:
            continue
        whole = full.get(slot.tensor.untyped_storage()._cdata)
        if whole is not None and _extent(slot.tensor) <= _extent(whole.tensor):
            slot.origin = whole.origin
        else:
            missing.append(slot)
    return missing


def fill(hollow: list[Slot], device: torch.device) -> list[tuple[Slot, Tensor]]:
    """New data for each slot; slots that share a storage on meta share one again."""
    sizes: dict[int, int] = {}
    for slot in hollow:
        key = slot.tensor.untyped_storage()._cdata
        sizes[key] = max(sizes.get(key, 0), _extent(slot.tensor))
    storages = {
        key: torch.empty(size, dtype=torch.uint8, device=device).untyped_storage() for key, size in sizes.items()
    }
    result = []
    for slot in hollow:
        data = view_of(storages[slot.tensor.untyped_storage()._cdata], slot.tensor)
        if slot.source is not None:
            _write(slot, data)
        result.append((slot, data))
    return result


@torch.no_grad()
def _write(slot: Slot, data: Tensor) -> None:
    """Copy the slot's source into `data`, whose expanded dimensions have one place in memory."""
    assert slot.source is not None
    once = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in data.stride())
    data[once].copy_(slot.source[once])
    if data[once].shape != data.shape and not torch.equal(data, slot.source.to(data)):
        got = f"different values from {slot.origin}"
        raise MaterializeError(
            f"one value along the expanded dimension of {slot.names[0]}", got, f"correct {slot.origin}"
        )


def _extent(tensor: Tensor) -> int:
    """Bytes of its storage up to the tensor's last element."""
    if not tensor.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int(tensor.storage_offset() + last + 1) * tensor.element_size()


def _refuse_unlike(tensor: Tensor, name: str, value: Tensor, origin: str) -> None:
    fits = value.shape == tensor.shape and not value.is_meta and value.layout is torch.strided
    # The copy converts precision, for instance of a checkpoint in half; floats would be cut to whole numbers.
    if fits and value.is_floating_point() == tensor.is_floating_point():
        return
    kind = f"{tuple(value.shape)} {value.dtype} on {value.device}"
    got = f"{kind} from {origin}"
    expected = f"real data of shape {tuple(tensor.shape)} and dtype {tensor.dtype} for {name}"
    raise MaterializeError(expected, got, f"correct {origin}; the model is unchanged")


def refuse_shapeless(hollow: list[Slot]) -> None:
    """Refuse meta tensors whose data could not be laid out.

    Raises:
        MaterializeError: some are lazy or sparse; all are named.
    """
    names = [slot.names[0] for slot in hollow if is_lazy(slot.tensor) or slot.tensor.layout is not torch.strided]
    if names:
        got = f"{len(names)} that are lazy or sparse: {', '.join(names)}"
        raise MaterializeError("meta tensors with a shape and strides", got, "build these on a real device")


def _refuse_same(twin: nn.Module, hollow: list[Slot]) -> None:
    own = {id(slot.tensor) for slot in hollow}
    if any(id(item.tensor) in own for item in inventory(twin)):
        raise MaterializeError("a factory that builds a new model", "the model itself", "build a new one in factory")
