"""Which line of the user's code allocated the memory: a dispatch mode that follows storages from birth to death.

Covered: every storage that an operation of the calling thread makes while the mode is on. Not covered: the temporaries
that an operation allocates and frees inside itself (convolutions and recurrent nets have them), compiled code, other
threads. Costs about as much time again as a small network's step.
"""

import linecache
import re
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_OWN_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
_NOTEBOOK_CELL = re.compile(r"[/\\]ipykernel_\d+[/\\]\d+\.py$")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of code outside torch."""

    file: str
    """As Python names it."""
    number: int
    """Of the line, from 1."""
    function: str
    """Name of the function that the line is in."""

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.number).strip()
        file = "notebook cell" if _NOTEBOOK_CELL.search(self.file) else self.file
        return f"{file}:{self.number} in {self.function}" + (f": {text}" if text else "")


@dataclass(frozen=True, kw_only=True)
class AllocationSite:
    """A storage that an operation made."""

    number: int
    """Count of births, from 1."""
    nbytes: int
    """Bytes of the storage."""
    operation: str
    """The operation as torch writes it."""
    line: Line
    """The user's line that called it."""
    mark: int
    """The value of `StorageTracker.mark` at the birth."""


OnChange = Callable[[AllocationSite, int], None]


def _ignore(site: AllocationSite, nbytes: int) -> None: ...


def user_line() -> Line:
    """The innermost line on the stack that is neither torch's nor this folder's; the outermost where all are."""
    frame: FrameType | None = sys._getframe(1)
    last = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        # "<string>" and "<frozen ...>" are generated code, which has no line to show.
        if not name.startswith((*_OWN_FOLDERS, "<")):
            return Line(file=name, number=frame.f_lineno, function=frame.f_code.co_name)
        last, frame = frame, frame.f_back
    return Line(file=last.f_code.co_filename, number=last.f_lineno, function=last.f_code.co_name)


class StorageTracker(TorchDispatchMode):
    """Live and peak bytes of the storages born under the mode, by operation and line."""

    supports_higher_order_operators = True

    def __init__(self, on_change: OnChange = _ignore) -> None:
        """Follow storages.

        Args:
            on_change: is called with each storage that is born, and with its bytes; when it dies, with minus its bytes.
        """
        super().__init__()
        self._on_change = on_change
        self.mark = 0
        """Written into each birth; the owner counts it up, for example once a step."""
        self.live = 0
        """Bytes alive now."""
        self.peak = 0
        """Largest value of `live`."""
        self.peak_by_line: Counter[Line] = Counter()
        """Bytes alive at the peak, by the line that made them."""
        self._births: dict[int, AllocationSite] = {}
        self._by_line: Counter[Line] = Counter()
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = {storage._cdata for storage in _storages((args, kwargs))}
        # torch.tensor() makes its storage where no mode sees it, and hands it over by this operation
        if func is torch.ops.aten.lift_fresh.default:
            known.clear()
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage._cdata not in known and storage._cdata not in self._births and storage.nbytes():
                self._born(storage, str(func))
        return result

    def stop(self) -> None:
        """Tell of no further change."""
        self._on_change = _ignore

    def alive(self) -> dict[int, AllocationSite]:
        """The storages that are alive now, by `untyped_storage()._cdata`."""
        return dict(self._births)

    def _born(self, storage: torch.UntypedStorage, operation: str) -> None:
        self._count += 1
        birth = AllocationSite(
            number=self._count, nbytes=storage.nbytes(), operation=operation, line=user_line(), mark=self.mark
        )
        self._births[storage._cdata] = birth
        self.live += birth.nbytes
        self._by_line[birth.line] += birth.nbytes
        if self.live > self.peak:
            self.peak = self.live
            self.peak_by_line = Counter({line: size for line, size in self._by_line.items() if size})
        self._on_change(birth, birth.nbytes)
        # the address is used again by later storages: the entry has to go with its storage
        # No finalizer at exit: nobody reads the counts by then.
        weakref.finalize(storage, self._died, storage._cdata, birth.number).atexit = False

    def _died(self, key: int, number: int) -> None:
        birth = self._births.get(key)
        if birth is None or birth.number != number:
            return
        del self._births[key]
        self.live -= birth.nbytes
        self._by_line[birth.line] -= birth.nbytes
        self._on_change(birth, -birth.nbytes)


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [
        leaf.untyped_storage()
        for leaf in tree_leaves(tree)
        if isinstance(leaf, Tensor) and leaf.layout is torch.strided and not leaf.is_meta
    ]
