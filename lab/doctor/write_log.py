"""Writes to memory that the graph saved, by torch's operations and by others.

Covered: every operation whose schema says that it writes, and `tensor.data = other`, each with its line; writes outside
torch by a patrol that compares bytes before each operation. The patrol goes first to memory that code outside torch is
known to share (numpy, dlpack), then to a few others in turn, within a number of bytes: where more is shared, or memory
is shared in another way, the bracket is wider than one operation. Not covered: bytes on other devices (no patrol).
"""

import sys
from collections import deque
from dataclasses import dataclass, field
from types import FrameType

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from lab.doctor.fingerprint import layout_of
from lab.doctor.place import call_site
from lab.doctor.records import Bracket, Moment, SavedTensor, Write
from lab.doctor.saved import storage_of

_FIRST_SWEEP = 256


@dataclass(slots=True)
class _StorageWatch:
    """A storage that live nodes saved."""

    storage: StorageWeakRef
    """Kept so that the storage's identity stays its own."""
    saved: list[SavedTensor] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def prune(self) -> bool:
        """Forget what no backward will read; gives whether anything is left."""
        self.saved = [saved for saved in self.saved if saved.live]
        if not self.saved:
            self.writes.clear()
        return bool(self.saved)


class WriteLog:
    """The operations of a run and their writes.

    Args:
        patrol_tensors: saved tensors, not known to be shared, whose bytes are looked at before each operation, at most.
        patrol_bytes: bytes that are looked at before each operation, at most (one tensor at least).
    """

    def __init__(self, patrol_tensors: int, patrol_bytes: int) -> None:
        self._patrol_tensors = patrol_tensors
        self._patrol_bytes = patrol_bytes
        self._watches: dict[int, _StorageWatch] = {}
        self._sweep_at = _FIRST_SWEEP
        self._queue: deque[SavedTensor] = deque()
        self._exposed: deque[SavedTensor] = deque()
        self.tick = 0
        self.now = Moment("the start of the run", None)
        self.last_write: Write | None = None

    @property
    def watched(self) -> int:
        """Saved tensors that are looked at in turn; those that no backward will read leave when their turn comes."""
        return len(self._queue) + len(self._exposed)

    def close(self) -> None:
        """Let go of everything."""
        self._watches.clear()
        self._queue.clear()
        self._exposed.clear()
        self.last_write = None

    def begin(self, operation: str, frame: FrameType) -> None:
        """The operation is about to run from `frame`: look for bytes that changed since the last one."""
        self.tick += 1
        self.now = Moment(operation, call_site(frame))
        left = self._patrol(self._exposed, len(self._exposed), self._patrol_bytes)
        if left > 0:
            self._patrol(self._queue, self._patrol_tensors, left)

    def expose(self, tensor: Tensor) -> None:
        """Code outside torch gets access to the memory of `tensor`."""
        storage = storage_of(tensor)
        watch = self._watches.get(storage._cdata) if storage is not None else None
        for saved in watch.saved if watch is not None else ():
            self._share(saved)

    def wrote(self, tensor: Tensor, version: int, *, rebinds: bool = False) -> None:
        """The operation that began last wrote to `tensor`, whose version counter stood at `version`."""
        storage = storage_of(tensor)
        if storage is None:
            return
        layout = layout_of(tensor)
        start, stop = (layout.start, layout.stop) if layout else (0, sys.maxsize)
        part = stop - start < storage.nbytes()
        write = Write(self.tick, self.now, storage._cdata, start, stop, version, part, rebinds)
        self.last_write = write
        watch = self._watches.get(write.key)
        if watch is None or not watch.prune():
            return
        watch.writes.append(write)
        for saved in watch.saved:
            if saved.first is not None:
                saved.current, saved.seen = saved.measure(), saved.glance()
                saved.verified = saved.glanced = self.now

    def watch(self, saved: SavedTensor) -> None:
        """Log writes to the memory of `saved` from now on."""
        key = saved.storage.cdata
        watch = self._watches.get(key)
        if watch is None:
            if len(self._watches) >= self._sweep_at:
                self._watches = {key: watch for key, watch in self._watches.items() if watch.prune()}
                # The next sweep waits until twice as many are there: sweeps stay a constant share of the work.
                self._sweep_at = _FIRST_SWEEP + 2 * len(self._watches)
            watch = self._watches[key] = _StorageWatch(saved.storage)
        watch.prune()
        watch.saved.append(saved)
        if saved.first is not None:
            self._queue.append(saved)
            storage = torch.UntypedStorage._new_with_weak_ptr(key)
            # Memory that torch did not allocate, such as numpy's, cannot be resized.
            if storage is not None and not storage.resizable():
                self._share(saved)

    def writes_since(self, saved: SavedTensor) -> tuple[Write, ...]:
        """Writes to the storage of `saved` after it was saved, first to last."""
        watch = self._watches.get(saved.storage.cdata)
        return tuple(write for write in watch.writes if write.tick > saved.tick) if watch else ()

    def _patrol(self, queue: deque[SavedTensor], most: int, budget: int) -> int:
        """Look at the next `most` of `queue`, or until the budget of bytes is spent; gives what is left of it."""
        for _ in range(min(len(queue), most)):
            saved = queue.popleft()
            if not saved.live or (saved.shared and queue is self._queue):
                continue
            self._look(saved)
            queue.append(saved)
            budget -= saved.layout.stop - saved.layout.start if saved.layout else 0
            if budget <= 0:
                break
        return budget

    def _share(self, saved: SavedTensor) -> None:
        if saved.first is not None and not saved.shared:
            saved.shared = True
            self._exposed.append(saved)

    def _look(self, saved: SavedTensor) -> None:
        """Compare the bytes with what they should be."""
        found = saved.glance()
        if found is None:
            return
        if found != saved.seen:
            saved.outside = saved.outside or Bracket(saved.glanced, self.now)
            saved.seen, saved.current, saved.verified = found, saved.measure(), self.now
        saved.glanced = self.now
