"""The nodes of a run's autograd graph, and what torch will say when it runs them.

When the engine is about to run a node, its saved tensors are read as torch will read them a moment later: an error here
is the error that torch will raise, and bytes that differ although torch finds nothing are a silent fault. Covered:
torch's own nodes, custom functions, writes through views, weights of checkpointed parts. Not covered: what else nodes
made under saved-tensor hooks and reentrant checkpoints need (both are counted), and nodes made before the run.
"""

import re
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from lab.doctor.ancestry import ancestors, carried, path
from lab.doctor.checkpointed import READ_AGAIN, Rereads, is_reentrant, under_checkpoint, weights_of
from lab.doctor.fingerprint import glance, layout_of
from lab.doctor.names import Names
from lab.doctor.place import call_site
from lab.doctor.records import Holder, Moment, NodeRecord, Observation, SavedTensor
from lab.doctor.saved import (
    has_hooks,
    hides_its_operation,
    hooks_are_on,
    is_leaf_node,
    read_saved,
    saved_attributes,
    storage_of,
)
from lab.doctor.write_log import WriteLog

_EXPECTED_VERSION = re.compile(r"expected version (\d+)")


class GraphWatch:
    """Records nodes and looks at each before the engine runs it.

    Args:
        write_log: where writes to saved memory are logged.
        names: names tensors; asked while the frames that lead to the fault are alive.
    """

    def __init__(self, write_log: WriteLog, names: Names) -> None:
        self._ledger = write_log
        self._names = names
        self._customs: weakref.WeakSet[Any] = weakref.WeakSet()
        self._task = -1
        self._root: NodeRecord | None = None
        self._running = Moment("backward", None)
        self._current: NodeRecord | None = None
        self._inputs: list[Tensor] = []
        self.rereads = Rereads(self._keep)
        self.prompt = True
        """Nodes are met when they are made."""
        self.runs_python = False
        """Backward may run Python: custom functions, saved-tensor hooks, hooks of tensors."""
        self.resume: Callable[[], None] | None = None
        """Ends the pause in which the watch is."""
        self.active = True
        self.quiet = False
        self.nodes = 0
        self.unwatched = 0
        self.fault: Observation | None = None
        self.failed_call = ("", Holder())
        self.silent: list[Observation] = []

    def close(self) -> None:
        """Stop; nodes that outlive the run do nothing more."""
        self.active = False
        self._customs.clear()
        self.rereads.close()
        self._root = self._current = None
        self._inputs = []

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Operations inside are the doctor's own."""
        before, self.quiet = self.quiet, True
        try:
            yield
        finally:
            self.quiet = before

    def knows(self, node: Any) -> bool:
        """The node is recorded, or there is nothing in it to record."""
        return is_leaf_node(node) or self in node.metadata

    def add(self, node: Any) -> None:
        """Record a node that has just been made."""
        if not self.active or self.quiet or is_leaf_node(node):
            return
        if self.resume is not None:
            self.resume()
        self.nodes += 1
        known = []
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            if not is_leaf_node(parent):
                known.append(parent.metadata.get(self))
            elif not self.runs_python:
                self.runs_python = has_hooks(parent.variable)
        record = NodeRecord(
            operation=node.name(),
            site=self._ledger.site_of(sys._getframe(1)),
            tick=self._ledger.tick,
            parents=tuple(parent for parent in known if parent is not None),
        )
        node.metadata[self] = record
        self.quiet = True
        try:
            self._record_saved(record, node)
        finally:
            self.quiet = False
        node.register_prehook(partial(self._start, record))
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            self._customs.add(node)
            self.runs_python = True

    def _record_saved(self, record: NodeRecord, node: Any) -> None:
        if hooks_are_on() or hides_its_operation(node):
            self.runs_python = True
            record.watched = False
            self.unwatched += 1
            self._keep(record, "input", self._inputs)
            if under_checkpoint():
                self._keep(record, READ_AGAIN, weights_of(tuple(self._inputs)))
        else:
            self._save(record, node)
            self.rereads.give(node, record, self._ledger.now if self.prompt else None)
            # What else the part reads again is no input of this node.
            self.unwatched += is_reentrant(node)

    @contextmanager
    def backward_called_from(self, frame: FrameType) -> Iterator[None]:
        """Inside, `frame` waits for a backward pass."""
        before, self._names.waiting = self._names.waiting, frame
        try:
            yield
        finally:
            self._names.waiting = before

    def note_failure(self, call: str, args: tuple[object, ...]) -> None:
        """A call of torch raised: keep its name and who holds its first tensor."""
        with self.silence():
            storages = [storage_of(value) for value in args if isinstance(value, Tensor)]
            holder = self._names.of_storage(storages[0]._cdata) if storages and storages[0] is not None else Holder()
        self.failed_call = (call, holder)

    def note_inputs(self, inputs: list[Tensor]) -> None:
        """An operation runs on `inputs`: they stand for what its node saves, where that cannot be read."""
        self._inputs = inputs

    def broken_elsewhere(self, text: str) -> Observation | None:
        """The fault behind torch's error `text` where no node's own saved tensor raises it.

        Custom functions are read from inside other nodes; a checkpointed part reads its inputs when it is run again.
        """
        for node in list(self._customs):
            record = node.metadata.get(self)
            if record is None or record.released or not record.watched:
                continue
            with self.silence():
                self._examine(record, node)
            if self.fault is not None and self.fault.text == text:
                return self.fault
        if self._current is None or self._current.watched:
            return None
        part = [record for record in ancestors(self._current) if not record.watched]
        spoiled = [saved for record in part for saved in record.saved if self._ledger.writes_since(saved)]
        expected = _EXPECTED_VERSION.search(text)
        # Of an input that the operation itself wrote, the version is another one.
        spoiled = [saved for saved in spoiled if expected and saved.version == int(expected[1])] or spoiled
        if not spoiled:
            return None
        first = min(spoiled, key=lambda saved: self._ledger.writes_since(saved)[0].tick)
        owner = first.owner()
        assert owner is not None
        return self._observe("in-place", owner, first, text)

    def _save(self, record: NodeRecord, node: Any) -> None:
        for attribute in saved_attributes(node):
            try:
                tensors = read_saved(node, attribute)
            except RuntimeError:
                # the operation wrote over its own input: torch says so only in backward
                record.own_write = self._ledger.last_write
                continue
            self._keep(record, attribute, tensors)

    def _keep(self, record: NodeRecord, attribute: str, tensors: list[Tensor]) -> None:
        owner = weakref.ref(record)
        for tensor in tensors:
            storage = storage_of(tensor)
            if storage is None:
                continue
            layout = layout_of(tensor)
            first = glance(storage, layout, whole=False) if layout else None
            saved = SavedTensor(
                owner=owner,
                attribute=attribute,
                storage=StorageWeakRef(storage),
                layout=layout,
                tick=record.tick,
                version=tensor._version,
                first=first,
                seen=first,
                glanced=self._ledger.now,
            )
            record.saved.append(saved)
            self._ledger.watch(saved, storage)

    def _start(self, record: NodeRecord, *_gradients: object) -> None:
        """The engine is about to run the node of `record`."""
        if not self.active:
            return
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task, self._root, self.fault = task, record, None
            # on a GPU this is a thread of the engine: the user's frames wait in another one
            waiting = self._names.waiting
            site = call_site(sys._getframe(1)) or (call_site(waiting) if waiting is not None else None)
            self._running = Moment("backward", site)
        self._current = record
        node = torch._C._current_autograd_node()
        if record.saved or record.own_write is not None or record.released:
            with self.silence():
                if record.released:
                    self._read_again(record, node)
                elif record.watched:
                    self._examine(record, node)
                self._examine_rereads(record)
        record.task = task
        if not record.released and not torch._C._autograd._get_current_graph_task_keep_graph():
            record.released, record.released_tick = True, self._ledger.tick
            record.released_by, record.released_root = self._running, self._root

    def _read_again(self, record: NodeRecord, node: Any) -> None:
        for attribute in saved_attributes(node):
            try:
                read_saved(node, attribute)
            except RuntimeError as error:
                self.fault = self._observe("second", record, None, str(error))
                return

    def _examine(self, record: NodeRecord, node: Any) -> None:
        silent = []
        for attribute in saved_attributes(node):
            mine = [saved for saved in record.saved if saved.attribute == attribute]
            try:
                tensors = read_saved(node, attribute)
            except RuntimeError as error:
                self.fault = self._observe("in-place", record, self._likeliest(mine), str(error))
                return
            now = [storage._cdata for storage in map(storage_of, tensors) if storage is not None]
            silent += [(saved, now) for saved in mine if self._differs(saved, now)]
        for saved, now in silent:
            key = saved.storage.cdata
            self.silent.append(self._observe("silent", record, saved, "", key if key in now else now[0]))

    def _examine_rereads(self, record: NodeRecord) -> None:
        """The part is about to be run again: with other weights it gives other gradients."""
        again = [saved for saved in record.saved if saved.attribute == READ_AGAIN and not saved.storage.expired()]
        for saved in again if not record.released else ():
            if self._differs(saved, [saved.storage.cdata]):
                self.silent.append(self._observe("silent", record, saved, ""))

    def _differs(self, saved: SavedTensor, now: list[int]) -> bool:
        """The node would compute with other bytes than those it saved; `now` are the storages that it would read."""
        if saved.layout is None or not now:
            return False
        if saved.storage.cdata not in now:
            return True
        if saved.first is None:
            writes = self._ledger.writes_since(saved)
            return any(saved.layout.overlaps(write.start, write.stop) for write in writes)
        return saved.differs()

    def _likeliest(self, candidates: list[SavedTensor]) -> SavedTensor | None:
        for saved in candidates:
            if self._ledger.writes_since(saved):
                return saved
        for saved in candidates:
            if saved.first is not None and saved.differs():
                return saved
        return candidates[0] if candidates else None

    def _observe(
        self, kind: str, record: NodeRecord, saved: SavedTensor | None, text: str, key: int = 0
    ) -> Observation:
        """The fault with all that is known now; `key`: the storage to name, where it is not the one saved."""
        writes = self._ledger.writes_since(saved) if saved is not None else ()
        if saved is None and record.own_write is not None and kind == "in-place":
            writes = (record.own_write,)
        bracket = saved.outside_write(self._running) if saved is not None and not writes else None
        key = key or (saved.storage.cdata if saved is not None else writes[0].key if writes else 0)
        carrier, consumer = carried(self._root, record) if kind == "second" else (None, None)
        if carrier is not None:
            holder = self._names.of_graph(self._reaches(carrier), self._is_root)
        else:
            holder = self._names.of_storage(key) if key else Holder()
        return Observation(
            kind=kind,
            record=record,
            saved=saved,
            writes=writes,
            bracket=bracket,
            running=self._running,
            root=self._root,
            carrier=carrier,
            consumer=consumer,
            text=text,
            holder=holder,
        )

    def _record_of(self, tensor: Tensor) -> NodeRecord | None:
        node: Any = tensor.grad_fn
        return None if node is None or is_leaf_node(node) else node.metadata.get(self)

    def _is_root(self, tensor: Tensor) -> bool:
        return self._record_of(tensor) is self._root

    def _reaches(self, carrier: NodeRecord) -> Callable[[Tensor], bool]:
        """Whether a tensor's graph has the node of `carrier` in it."""

        def reaches(tensor: Tensor) -> bool:
            record = self._record_of(tensor)
            return record is not None and bool(path(record, carrier))

        return reaches
