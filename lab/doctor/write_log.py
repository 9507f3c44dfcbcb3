"""Writes to memory that the graph saved, by torch's operations and by others.

Covered: every operation whose schema says that it writes, and `tensor.data = other`, each with its line; writes outside
torch by a patrol that compares bytes before each operation. The patrol goes first to memory that code outside torch is
known to share (numpy, dlpack), then to a few others in turn, within a number of bytes: where more is shared, or memory
is shared in another way, the bracket is wider than one operation. Not covered: bytes on other devices (no patrol), and
memory that nobody is known to share (an address that C code keeps) beyond a sample: sums of 64 KiB of each tensor.
"""

import sys
from collections import deque
from dataclasses import dataclass, field
from types import FrameType

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from lab.doctor.fingerprint import layout_of
from lab.doctor.place import Site, call_site
from lab.doctor.records import Moment, SavedTensor, Write
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
        patrol_bytes: bytes that are looked at before each operation: of memory known to be shared at most (one tensor
            at least), of other memory on an average.
    """

    def __init__(self, patrol_tensors: int, patrol_bytes: int) -> None:
        self._patrol_tensors = patrol_tensors
        self._patrol_bytes = patrol_bytes
        self._watches: dict[int, _StorageWatch] = {}
        self._sweep_at = _FIRST_SWEEP
        self._queue: deque[SavedTensor] = deque()
        self._exposed: deque[SavedTensor] = deque()
        self._debt = 0
        self._caller = (0, -1)
        self.tick = 0
        self.now = Moment("the start of the run", None)
        self.last_write: Write | None = None

    @property
    def watched(self) -> int:
        """Saved tensors that are looked at in turn; those that no backward will read leave when their turn comes."""
        return len(self._queue) + len(self._exposed)

    def is_awaited(self) -> bool:
        """A backward may still read watched memory; otherwise everything is let go."""
        for key, watch in list(self._watches.items()):
            if watch.prune():
                return True
            del self._watches[key]
        self._queue.clear()
        self._exposed.clear()
        return False

    def close(self) -> None:
        """Let go of everything."""
        self._watches.clear()
        self._queue.clear()
        self._exposed.clear()
        self.last_write = None

    def site_of(self, frame: FrameType) -> Site | None:
        """The line of the operation that `frame` called, which has made a node."""
        # Most nodes are made by the operation that began last, and frames are many.
        if (id(frame), frame.f_lasti) == self._caller:
            return self.now.site
        return call_site(frame)

    def begin(self, operation: str, frame: FrameType) -> None:
        """The operation is about to run from `frame`: look for bytes that changed since the last one."""
        self.tick += 1
        site = call_site(frame)
        # Not the frame itself: that would keep its tensors.
        self._caller = (id(frame), frame.f_lasti)
        self.now = Moment(operation, site)
        if self._exposed:
            self._patrol_exposed()
        if self._queue:
            self._patrol_others()

    def expose(self, tensor: Tensor) -> None:
        """Code outside torch gets access to the memory of `tensor`."""
        storage = storage_of(tensor)
        watch = self._watches.get(storage._cdata) if storage is not None else None
        for saved in watch.saved if watch is not None else ():
            self._share(saved)

    def will_write(self, tensor: Tensor) -> None:
        """The operation that began last is about to write to `tensor`."""
        storage = storage_of(tensor)
        watch = self._watches.get(storage._cdata) if storage is not None else None
        layout = layout_of(tensor) if watch is not None and watch.prune() else None
        if watch is not None and layout is not None:
            for saved in watch.saved:
                if saved.layout is not None and saved.layout.overlaps(layout.start, layout.stop):
                    saved.settle(self.now)

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
            if saved.layout is not None and saved.layout.overlaps(start, stop):
                saved.accept(self.now)

    def watch(self, saved: SavedTensor, storage: torch.UntypedStorage) -> None:
        """Log writes to the memory of `saved`, which lies in `storage`, from now on."""
        key = saved.storage.cdata
        watch = self._watches.get(key)
        if watch is None:
            if len(self._watches) >= self._sweep_at:
                self._watches = {key: watch for key, watch in self._watches.items() if watch.prune()}
                # The next sweep waits until twice as many are there: sweeps stay a constant share of the work.
                self._sweep_at = _FIRST_SWEEP + 2 * len(self._watches)
            watch = self._watches[key] = _StorageWatch(saved.storage)
        else:
            watch.prune()
        watch.saved.append(saved)
        if saved.first is not None:
            self._queue.append(saved)
            # Memory that torch did not allocate, such as numpy's, or that numpy was given cannot be resized.
            if not storage.resizable():
                self._share(saved)

    def writes_since(self, saved: SavedTensor) -> tuple[Write, ...]:
        """Writes to the storage of `saved` after it was saved, first to last."""
        watch = self._watches.get(saved.storage.cdata)
        return tuple(write for write in watch.writes if write.tick > saved.tick) if watch else ()

    def _patrol_exposed(self) -> None:
        queue, budget = self._exposed, self._patrol_bytes
        for _ in range(len(queue)):
            saved = queue.popleft()
            if not saved.live:
                continue
            saved.look(self.now)
            queue.append(saved)
            budget -= _bytes(saved)
            if budget <= 0:
                return

    def _patrol_others(self) -> None:
        """Look at the next few; one with many bytes makes the following wait."""
        self._debt = max(0, self._debt - self._patrol_bytes)
        queue, left = self._queue, self._patrol_tensors
        for _ in range(len(queue)):
            if left <= 0 or self._debt >= self._patrol_bytes:
                return
            saved = queue.popleft()
            if saved.shared or not saved.live:
                continue
            saved.look(self.now)
            queue.append(saved)
            self._debt += _bytes(saved)
            left -= 1

    def _share(self, saved: SavedTensor) -> None:
        if saved.first is not None and not saved.shared:
            saved.share(self.now)
            self._exposed.append(saved)


def _bytes(saved: SavedTensor) -> int:
    return saved.layout.stop - saved.layout.start if saved.layout is not None else 0
