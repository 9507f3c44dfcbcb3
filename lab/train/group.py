"""The processes that train one run together: one alone, or the ranks of a torch.distributed group.

Each rank holds the whole networks and takes its rows of every batch; what they compute together is what one process
computes that cuts each batch into the ranks' rows and sums their gradients in rank order. Only rank 0 writes.
B batch, C channels, H height, W width.
"""

import contextlib
import datetime
import inspect
import os
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist

# Its functions take the default group as it is at import. torch imports it with the first DistributedDataParallel: they
# would hold the group, and its threads, beyond `open_group`, and a thread that lets go of its last tensor while the
# interpreter ends aborts the process. Imported here, before there is a group, they hold none.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from lab.base import ConfigError, TrainingError, require

Value = TypeVar("Value")
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel.__init__).parameters
)
"""The argument's name differs between torch 2.11 and later ones."""
TIMEOUT = datetime.timedelta(minutes=10)
"""How long a rank waits for the others."""


class Group(Protocol):
    """What the parts of a run ask of the processes that train it."""

    rank: int
    size: int

    def rows(self, x_BCHW: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's part of a batch."""

    def wrap(self, module: nn.Module) -> nn.Module:
        """A module whose backward pass leaves the mean gradient over the ranks."""

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the ranks, the same bits on each."""

    def broadcast(self, value: Value) -> Value:
        """Rank 0's value."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on one of the ranks."""

    def merged_statistics(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Inside, `module` runs forward and backward on this rank's rows; on exit its BatchNorm averages have seen all
        ranks' rows."""

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Give every rank rank 0's buffers: a GPU may estimate the same statistics with other last bits."""

    def check_equal(self, digest: str, what: str) -> None:
        """Compare a digest over the ranks.

        Raises:
            TrainingError: it differs.
        """


class SingleProcess:
    """One process."""

    rank = 0
    size = 1

    def rows(self, x_BCHW: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        """The whole batch."""
        return x_BCHW, y_B

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module

    def mean(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def broadcast(self, value: Value) -> Value:
        """The value itself."""
        return value

    def any(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def merged_statistics(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Nothing to merge."""
        return contextlib.nullcontext()

    def broadcast_buffers(self, module: nn.Module) -> None:
        """One process has its own."""

    def check_equal(self, digest: str, what: str) -> None:
        """One process agrees with itself."""


class Ranks:
    """The ranks of torch.distributed's default group, which `open_group` has joined.

    Args:
        device: where this rank computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def rows(self, x_BCHW: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        """Rows rank * B / size to (rank + 1) * B / size.

        Raises:
            ConfigError: the batch cannot be shared out evenly.
        """
        require(
            len(y_B) % self.size == 0,
            expected=f"a batch size that {self.size} ranks can share",
            got=f"{len(y_B)}",
            hint=f"give a --batch-size that is a multiple of {self.size}",
        )
        length = len(y_B) // self.size
        part = slice(self.rank * length, (self.rank + 1) * length)
        return x_BCHW[part], y_B[part]

    def wrap(self, module: nn.Module) -> nn.Module:
        """`DistributedDataParallel`; parameters that no rank used keep `grad` None, buffers stay each rank's own."""
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not trained:
            return module
        # A supernet runs one cell of many, and a cell may have an edge whose end leads nowhere.
        options: dict[str, Any] = {"find_unused_parameters": True, _SYNC_BUFFERS: False}
        return DistributedDataParallel(module, **options)

    def mean(self, tensor: Tensor) -> Tensor:
        """Sum over the ranks, divided by their number."""
        # A clone: all_reduce writes into its argument.
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def broadcast(self, value: Value) -> Value:
        """Rank 0's value, pickled."""
        box: list[Any] = [value]
        # NCCL sends objects through GPU memory, so it has to know which GPU.
        dist.broadcast_object_list(box, src=0, device=self.device)
        shared: Value = box[0]
        return shared

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on one of the ranks."""
        number = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return bool(number)

    @contextlib.contextmanager
    def merged_statistics(self, module: nn.Module) -> Iterator[None]:
        """Averages as of one process that saw the ranks' rows in turn.

        With momentum m, size W and average r before, rank k alone would end at r_k = (1 - m) r + m s_k; in turn they
        end at (1 - m)^W r + sum_k (1 - m)^(W - 1 - k) m s_k. A cumulative average (momentum None) is refused.
        """
        layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
        before = [_averages(layer) for layer in layers]
        counts = [int(layer.num_batches_tracked) for layer in layers if layer.num_batches_tracked is not None]
        yield
        if not layers:
            return
        after = torch.cat([_averages(layer) for layer in layers])
        gathered = [torch.empty_like(after) for _ in range(self.size)]
        dist.all_gather(gathered, after)
        start = 0
        for layer, old, count in zip(layers, before, counts, strict=True):
            ran = int(layer.num_batches_tracked) - count  # type: ignore[arg-type]
            stop = start + len(old)
            if ran:
                _merge(layer, old, [each[start:stop] for each in gathered], ran)
                assert layer.num_batches_tracked is not None
                layer.num_batches_tracked.add_((self.size - 1) * ran)
            start = stop

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Give every rank rank 0's buffers."""
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)

    def check_equal(self, digest: str, what: str) -> None:
        """Compare a digest over the ranks."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, digest)
        if len(set(found)) > 1:
            digests = ", ".join(f"rank {rank} {each}" for rank, each in enumerate(found))
            raise TrainingError(
                f"the same {what} on every rank", digests, "resume from the last checkpoint; report this"
            )


def _averages(layer: _BatchNorm) -> Tensor:
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    return torch.cat([mean, variance]).clone()


@torch.no_grad()
def _merge(layer: _BatchNorm, old: Tensor, each: list[Tensor], ran: int) -> None:
    assert layer.momentum is not None, "cumulative averages belong to recalibrate_batchnorm, which no rank shares"
    assert layer.running_mean is not None
    assert layer.running_var is not None
    keep = (1.0 - layer.momentum) ** ran
    merged = old
    for one in each:
        merged = keep * merged + (one - keep * old)
    half = len(layer.running_mean)
    layer.running_mean.copy_(merged[:half])
    layer.running_var.copy_(merged[half:])


def world_size() -> int:
    """Ranks that torchrun has started; 1 without it.

    Raises:
        ConfigError: the variable WORLD_SIZE is no number.
    """
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdigit():
        raise ConfigError("a number of ranks in WORLD_SIZE", repr(text), "start with torchrun, or unset it")
    return int(text)


def local_device(request: str) -> str:
    """The device that this rank takes for `request`: its own GPU for auto and cuda where there is one.

    Raises:
        ConfigError: a GPU was asked for that this rank cannot have.
    """
    if world_size() == 1 or request not in ("auto", "cuda"):
        return request
    index, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if index < count:
        return f"cuda:{index}"
    require(
        request == "auto" and count == 0,
        expected=f"a GPU for local rank {index}",
        got=f"{count} GPUs",
        hint="start no more ranks on a machine than it has GPUs, or give --device cpu",
    )
    return "cpu"


@contextlib.contextmanager
def open_group(device: torch.device) -> Iterator[Group]:
    """Join the ranks that torchrun has started, and leave them at the end; one process without it."""
    if world_size() == 1:
        yield SingleProcess()
        return
    joined = not dist.is_initialized()
    if joined:
        if device.type == "cuda":
            # NCCL takes the current GPU, which would be the first one for every rank.
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Ranks(device)
    finally:
        if joined:
            dist.destroy_process_group()


def lost_rank(error: BaseException) -> bool:
    """Whether another rank of the group is gone, or did not answer."""
    if isinstance(error, dist.DistError):
        return True
    # Gloo raises a bare RuntimeError when a peer is gone: only the text tells it from others.
    return isinstance(error, RuntimeError) and "gloo" in str(error)
