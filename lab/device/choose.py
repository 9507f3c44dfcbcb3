"""Which device to compute on, and why.

Covered: CUDA devices by free memory, Apple's MPS, the CPU. Not covered: other accelerators, several devices at once.
"""

from dataclasses import dataclass

import torch

from lab.base import PlacementError

REQUESTS = "auto, cpu, cuda, cuda:N or mps"


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """A device and the reason for it."""

    device: torch.device
    """The device, with its index where it is a CUDA device."""
    reason: str
    """One phrase for people."""

    def __str__(self) -> str:
        return f"{self.device}: {self.reason}"


def choose_device(request: str | torch.device = "auto") -> DeviceChoice:
    """Choose the CUDA device with most free memory, else MPS, else the CPU; or check the one that is asked for.

    Args:
        request: auto, cpu, cuda (the CUDA device with most free memory), cuda:N or mps.

    Raises:
        PlacementError: the request is no device of this kind, or this machine does not have it.
    """
    if request == "auto":
        return _choose_freely()
    if request == "cuda":
        _require_cuda("cuda")
        return _most_free_cuda()
    device = require_device(request)
    return DeviceChoice(device=device, reason="asked for")


def require_device(request: str | torch.device) -> torch.device:
    """The device called `request`, with data on it possible on this machine.

    Args:
        request: cpu, cuda (the current CUDA device), cuda:N or mps; not auto.

    Raises:
        PlacementError: the request is no device of this kind, or this machine does not have it.
    """
    try:
        device = torch.device(request)
    except RuntimeError as error:
        raise PlacementError(f"a device: {REQUESTS}", f"{request!r}", "choose one of those") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        _require_cuda(str(device))
        index = torch.cuda.current_device() if device.index is None else device.index
        count = torch.cuda.device_count()
        if index >= count:
            names = ", ".join(f"cuda:{known}" for known in range(count))
            raise PlacementError(f"one of {names}", f"cuda:{index}", "choose one that this machine has")
        return torch.device("cuda", index)
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise PlacementError("a machine with MPS", "one without", f"choose one of {_present()}")
        return torch.device("mps")
    raise PlacementError(f"a device that holds data: {REQUESTS}", f"{str(device)!r}", f"choose one of {_present()}")


def free_cuda_bytes(index: int) -> int:
    """Bytes that this process can still take on a CUDA device: the driver's free bytes and its own unused cache."""
    free, _ = torch.cuda.mem_get_info(index)
    return int(free + torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index))


def _choose_freely() -> DeviceChoice:
    if torch.cuda.is_available():
        return _most_free_cuda()
    if torch.backends.mps.is_available():
        return DeviceChoice(device=torch.device("mps"), reason="no CUDA device; MPS is here")
    built = torch.version.cuda
    why = f"torch has CUDA {built} but finds no device" if built else "torch is built without CUDA"
    return DeviceChoice(device=torch.device("cpu"), reason=f"{why}; no MPS")


def _most_free_cuda() -> DeviceChoice:
    free = [free_cuda_bytes(index) for index in range(torch.cuda.device_count())]
    # Among equals the lowest index, so that the choice repeats.
    best = max(range(len(free)), key=lambda index: (free[index], -index))
    among = "the only CUDA device" if len(free) == 1 else f"most free memory of {len(free)} CUDA devices"
    reason = f"{among}, {free[best] / 2**30:.1f} GiB free on {torch.cuda.get_device_name(best)}"
    return DeviceChoice(device=torch.device("cuda", best), reason=reason)


def _require_cuda(request: str) -> None:
    if not torch.cuda.is_available():
        raise PlacementError(f"a CUDA device for {request!r}", "a machine without one", f"choose one of {_present()}")


def _present() -> str:
    names = ["auto", "cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return ", ".join(names)
