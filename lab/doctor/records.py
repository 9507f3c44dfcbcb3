"""What is kept about a run: operations, writes, nodes of the graph and the tensors that they saved.

Nothing here keeps a tensor or a node alive: storages are held weakly, and a node's record dies with the node.
"""

import weakref
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from lab.doctor.fingerprint import Layout, fingerprint, glance
from lab.doctor.place import Site


class Moment(NamedTuple):
    """An operation and its line."""

    operation: str
    site: Site | None

    def __str__(self) -> str:
        return f"{self.operation} at {self.site.place}" if self.site else f"{self.operation} (no line of Python)"


@dataclass(frozen=True, slots=True)
class Write:
    """One operation that wrote to a storage."""

    tick: int
    """Number of the operation in the run."""
    moment: Moment
    key: int
    """Identity of the storage."""
    start: int
    """First byte written, in the storage."""
    stop: int
    """Byte after the last one written."""
    version: int
    """Version counter of the written tensor before the write."""
    partial: bool
    """Only a part of the storage was written."""
    rebinds: bool = False
    """The tensor was given other memory: `tensor.data = other`."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a tensor."""

    name: str = ""
    """Its full name in the model, or of a local variable; empty where it has none."""
    kind: str = ""
    """parameter, a kind of buffer, plain attribute, gradient or variable; empty where it has no name."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else "a tensor without a name"


@dataclass(frozen=True, slots=True)
class Bracket:
    """The two operations between which memory changed."""

    after: Moment
    before: Moment


@dataclass(slots=True, weakref_slot=True, eq=False)
class NodeRecord:
    """A node of the graph."""

    operation: str
    site: Site | None
    tick: int
    parents: "tuple[NodeRecord, ...]"
    """Records of the nodes that made its inputs."""
    leaves: tuple[int, ...] = ()
    """Identities of the leaves whose gradient it computes; kept by the training check."""
    saved: "list[SavedTensor]" = field(default_factory=list)
    own_write: Write | None = None
    """The write by which the node's own operation spoiled what the node saved."""
    watched: bool = True
    """What it saved can be read (no saved-tensor hooks were on)."""
    released: bool = False
    """A backward ran the node and freed what it saved."""
    released_by: Moment | None = None
    released_tick: int = -1
    """Number of the operation before that backward."""
    released_root: "NodeRecord | None" = None
    """First node of that backward."""
    task: int = -1
    """Number of the backward that ran it last."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class SavedTensor:
    """A tensor that a node saved for its backward.

    Its bytes are known by a glance at a part of them. All of them are looked at, and their fingerprint is taken, where
    somebody may write or is about to: code outside torch that shares the memory, an operation of torch.
    """

    owner: "weakref.ref[NodeRecord]"
    attribute: str
    storage: StorageWeakRef
    layout: Layout | None
    tick: int
    version: int
    """Version counter when it was saved."""
    first: int | None
    """Glance when it was saved; None where the memory cannot be read."""
    seen: int | None
    """Glance when it was last looked at."""
    glanced: Moment
    """Operation at whose start a glance last found the bytes as expected."""
    exact: int | None = None
    """Fingerprint of the bytes that were saved; None: not taken."""
    current: int | None = None
    """Fingerprint when it was last taken."""
    verified: Moment | None = None
    """Operation at whose start the bytes were last found as expected, by their fingerprint."""
    shared: bool = False
    """Code outside torch is known to have access to the memory."""
    outside: Bracket | None = None
    """Where the bytes changed without an operation of torch."""

    @property
    def live(self) -> bool:
        """A backward may still read it."""
        owner = self.owner()
        return owner is not None and not owner.released

    def settle(self, now: Moment) -> None:
        """Take the fingerprint of the bytes that were saved, as long as a glance finds them."""
        if self.exact is None and self.first is not None and self.glance() == self.first:
            self.exact = self.current = self._measure()
            self.verified = now

    def share(self, now: Moment) -> None:
        """Code outside torch has access from now on: look at every byte."""
        self.settle(now)
        self.shared = True
        if self.exact is not None:
            self.first = self.seen = self.glance()
            self.glanced = now

    def restart(self, tick: int, now: Moment) -> None:
        """The bytes of now are those that backward needs."""
        self.tick, self.glanced = tick, now
        self.first = self.seen = self.glance()
        self.exact = self.current = self.verified = None

    def accept(self, now: Moment) -> None:
        """An operation of torch wrote: the bytes of now are expected from here on."""
        if self.first is None:
            return
        self.seen, self.glanced = self.glance(), now
        if self.exact is not None:
            self.current, self.verified = self._measure(), now

    def look(self, now: Moment) -> None:
        """Glance at the bytes; where they are not the expected ones, something outside torch wrote since."""
        found = self.glance()
        if found is None:
            return
        if found != self.seen:
            self.outside = self.outside or Bracket(self.glanced, now)
            self.accept(now)
        self.glanced = now

    def differs(self) -> bool:
        """The bytes are not those that were saved."""
        return self._measure() != self.exact if self.exact is not None else self.glance() != self.first

    def outside_write(self, now: Moment) -> Bracket | None:
        """Between which operations something outside torch wrote."""
        if self.outside is not None or self.first is None:
            return self.outside
        if self.glance() != self.seen:
            return Bracket(self.glanced, now)
        moved = self.verified is not None and self._measure() != self.current
        return Bracket(self.verified, now) if moved and self.verified is not None else None

    def glance(self) -> int | None:
        """The glance now; None where the memory is gone or cannot be read."""
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        return None if storage is None or self.layout is None else glance(storage, self.layout, whole=self.shared)

    def _measure(self) -> int | None:
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        return None if storage is None or self.layout is None else fingerprint(storage, self.layout)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A fault as it was seen, before it is put into words."""

    kind: str
    """in-place, silent or second."""
    record: NodeRecord
    """The node that cannot be run rightly."""
    saved: SavedTensor | None
    """What it saved and lost."""
    writes: tuple[Write, ...]
    """Writes to that memory since, first to last."""
    bracket: Bracket | None
    """Where the memory changed, if no write was seen."""
    running: Moment
    """The backward that was about to run the node."""
    root: NodeRecord | None
    """First node of that backward."""
    carrier: NodeRecord | None
    """In a second backward: the node of the earlier graph whose result the new graph uses."""
    consumer: NodeRecord | None
    """The node that uses it."""
    text: str
    """Torch's message; empty for a silent fault."""
    holder: Holder
    """Who holds the tensor; in a second backward: who holds the graph."""
