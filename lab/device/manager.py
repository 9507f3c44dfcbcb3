"""One place that knows a run's device, its models, and the memory they take."""

import gc
import warnings
import weakref
from collections.abc import Iterable
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import ConfigError, require_range
from lab.device.choose import choose_device, free_cuda_bytes
from lab.device.footprint import process_memory, storage_bytes, tensor_bytes, visible_tensors
from lab.device.loader import DeviceLoader
from lab.device.memory import ALLOCATOR_STATISTICS, MemoryReport
from lab.device.place import place
from lab.device.transfer import TransferReport, transfer_state

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


class DeviceManager:
    """A device, the models on it by name (weakly held), and their memory.

    A manager is an ordinary object: who needs it gets it as an argument.
    """

    def __init__(self, device: str | torch.device = "auto", memory_fraction: float | None = None) -> None:
        """Args:
            device: as `choose_device` takes it.
            memory_fraction: share of the accelerator's memory that this process may take, > 0 and <= 1; beyond it,
                allocations fail as if there were no more. None leaves it as it is.

        Raises:
            PlacementError: the machine has no such device.
            ConfigError: the fraction is out of its range.

        Warns:
            UserWarning: a fraction was given and the device is the CPU, where it has no effect.
        """
        self.choice = choose_device(device)
        self.device = self.choice.device
        self.memory_fraction = memory_fraction
        self._models: weakref.WeakValueDictionary[str, nn.Module] = weakref.WeakValueDictionary()
        if memory_fraction is not None:
            require_range("memory_fraction", memory_fraction, 0, 1, open_low=True)
            self._limit(memory_fraction)

    def _limit(self, fraction: float) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(fraction, self.device)
        elif self.device.type == "mps":
            torch.mps.set_per_process_memory_fraction(fraction)
        else:
            text = f"memory_fraction = {fraction:g} has no effect on {self.device}: it limits accelerators"
            warnings.warn(text, UserWarning, stacklevel=3)

    @property
    def models(self) -> dict[str, nn.Module]:
        """The registered models that are still alive, by name."""
        return dict(self._models)

    def register_model(self, name: str, model: M) -> M:
        """Move `model` to the device and remember it by name, weakly; the same object back.

        A name that is registered again stands for the new model.

        Raises:
            MaterializeError: the model has meta tensors (see `materialize`); it was not moved.
        """
        placed = place(model, self.device)
        self._models[name] = placed
        return placed

    def to_device(self, data: T) -> T:
        """`data` on the device, in containers of the same types (see `place`)."""
        return place(data, self.device)

    def create_data_loader_wrapper(self, loader: Iterable[Any]) -> DeviceLoader:
        """The loader with its batches on the device; on CUDA copied from pinned memory, one batch ahead."""
        return DeviceLoader(loader, self.device)

    def optimize_memory(self) -> MemoryReport:
        """Free what only reference cycles hold, and give the accelerator's cached blocks back to the driver.

        The report counts the device's tensors before and after; nothing that is in use is touched.
        """
        before, cached = self._live_bytes(), self._cached_bytes()
        gc.collect()
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
        notes = (f"cache given back to the driver: {cached - self._cached_bytes():,} bytes",) if cached else ()
        on_cuda = self.device.type == "cuda"
        return MemoryReport(
            device=str(self.device),
            before=before,
            peak=before,
            after=self._live_bytes(),
            instrument=ALLOCATOR_STATISTICS if on_cuda else "storages of the tensors that Python sees",
            allocated_peak=0,
            dispatch_peak=None,
            by_line={},
            notes=notes,
        )

    def context_switch_model(self, old: nn.Module, new: M, optimizer: Optimizer | None = None) -> M:
        """`new` on the device in the place of `old`, whose weights die once the caller lets go of `old` too.

        Names that stood for `old` stand for `new`. The optimizer's groups get the new parameters, without state: each
        joins the group of the old parameter of its name, or the only group there is. Parameters of others that the
        optimizer holds stay, with their state.

        Args:
            old: the model that has been in use; it is not changed.
            new: the model to use from now on.
            optimizer: the one that trains `old`; its groups stay the same objects, so schedulers go on.

        Raises:
            MaterializeError: `new` has meta tensors.
            ConfigError: both are the same model, the optimizer does not train `old`, or it has several groups and a
                new parameter's name belongs to none.
        """
        if new is old:
            raise ConfigError("two models", "the same one twice", "give the new model as the second")
        if optimizer is not None:
            _new_groups(old, new, optimizer)  # refuses before anything is moved
        placed = place(new, self.device)
        if optimizer is not None:
            groups = _new_groups(old, placed, optimizer)
            for parameter in old.parameters():
                optimizer.state.pop(parameter, None)
            for group, parameters in zip(optimizer.param_groups, groups, strict=True):
                group["params"] = parameters
        for name, model in list(self._models.items()):
            if model is old:
                self._models[name] = placed
        return placed

    def transfer_model_state(self, source: nn.Module, target: nn.Module) -> TransferReport:
        """Copy values by name, and list every tensor as copied, sliced, missing or unused (see `transfer_state`)."""
        return transfer_state(source, target)

    def get_memory_stats(self) -> dict[str, float | str]:
        """Bytes by name, with the device and where they come from.

        `models_bytes` are the registered models' live tensor bytes, `model_bytes.NAME` each one's; `process_bytes` is
        the process's resident set; `total_bytes` and `free_bytes` are the accelerator's memory, or the machine's.
        On CUDA also `allocated_bytes` (handed out by torch), `reserved_bytes` (with its cache), `peak_bytes`.
        """
        stats: dict[str, float | str] = {"device": str(self.device), "process_bytes": float(process_memory())}
        stats["models_bytes"] = float(tensor_bytes(list(self._models.values())))
        for name, model in sorted(self._models.items()):
            stats[f"model_bytes.{name}"] = float(tensor_bytes(model))
        if self.device.type == "cuda":
            stats["instrument"] = ALLOCATOR_STATISTICS
            stats["total_bytes"] = float(torch.cuda.mem_get_info(self.device)[1])
            stats["free_bytes"] = float(free_cuda_bytes(self.device.index))
            stats["allocated_bytes"] = float(torch.cuda.memory_allocated(self.device))
            stats["reserved_bytes"] = float(torch.cuda.memory_reserved(self.device))
            stats["peak_bytes"] = float(torch.cuda.max_memory_allocated(self.device))
            return stats
        machine = psutil.virtual_memory()
        stats["instrument"] = "storages of tensors, and the operating system"
        stats["total_bytes"], stats["free_bytes"] = float(machine.total), float(machine.available)
        return stats

    def _live_bytes(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.memory_allocated(self.device))
        return storage_bytes(tensor for tensor in visible_tensors() if tensor.device == self.device)

    def _cached_bytes(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device))
        if self.device.type == "mps":
            return int(torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory())
        return 0


def _new_groups(old: nn.Module, new: nn.Module, optimizer: Optimizer) -> list[list[Tensor]]:
    """For each group of the optimizer its parameters after the switch."""
    mine = {id(parameter) for parameter in old.parameters()}
    number_of = {id(held): number for number, group in enumerate(optimizer.param_groups) for held in group["params"]}
    named = old.named_parameters(remove_duplicate=False)
    of_name = {name: number_of[id(parameter)] for name, parameter in named if id(parameter) in number_of}
    if not of_name:
        raise ConfigError("the optimizer that trains the old model", "one with none of its parameters", "give that one")
    groups = [[held for held in group["params"] if id(held) not in mine] for group in optimizer.param_groups]
    homeless = []
    for name, parameter in new.named_parameters():
        if name not in of_name and not parameter.requires_grad:
            continue
        if name in of_name:
            groups[of_name[name]].append(parameter)
        elif len(groups) == 1:
            groups[0].append(parameter)
        else:
            homeless.append(name)
    if homeless:
        got = f"{len(homeless)} new parameters in none of {len(groups)}: {', '.join(homeless)}"
        raise ConfigError("a group for each parameter", got, "merge the groups first, or build a new optimizer")
    return groups
