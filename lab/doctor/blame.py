"""Which operation of a step is to blame: ways back from the loss through the records of its calls."""

import re
from dataclasses import dataclass

from torch import nn

from lab.doctor.calls import CAST, OPERATION
from lab.doctor.place import Place, Site
from lab.doctor.records import NodeRecord
from lab.doctor.values import FINITE, NAN, CallRecord

_NODE = re.compile(r"(\w+?)Backward\d*")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MASKS = frozenset(
    [
        "masked_fill",
        "masked_fill_",
        "full",
        "full_like",
        "new_full",
        "fill_",
        "where",
        "triu",
        "tril",
        "triu_",
        "tril_",
        "tensor",
        "as_tensor",
        "zeros",
        "__setitem__",
        "index_fill",
        "index_fill_",
        "masked_scatter",
    ]
)
"""Operations by which an infinity is put somewhere on purpose."""


@dataclass(frozen=True)
class Blame:
    """An operation and where it stands; empty where nothing is known."""

    operation: str = ""
    site: Site | None = None

    @classmethod
    def of_call(cls, record: CallRecord | None) -> "Blame":
        """The call of torch."""
        return cls() if record is None else cls(record.operation, record.site)

    @classmethod
    def of_node(cls, record: NodeRecord) -> "Blame":
        """The node of the graph, by the operation that made it."""
        made = _NODE.fullmatch(record.operation)
        name = f"{_WORD.sub('_', made[1]).lower()} ({record.operation})" if made else record.operation
        return cls(name, record.site)

    @property
    def place(self) -> Place | None:
        """The line."""
        return self.site.place if self.site is not None else None

    def __str__(self) -> str:
        return f"{self.operation} at {self.place}" if self.place is not None else self.operation


def first_not_finite(loss: CallRecord) -> CallRecord:
    """The call that first made a value that is not finite, of those that led to the loss's.

    An infinity that a mask put in is followed no further: the call that could not bear it is at fault.
    """
    seen: set[int] = set()
    origins: list[CallRecord] = []
    stack = [loss]
    while stack:
        record = stack.pop()
        if id(record) in seen:
            continue
        seen.add(id(record))
        spoiled = [parent for parent in record.parents if parent.values != FINITE and not _on_purpose(parent)]
        worst = [parent for parent in spoiled if parent.values == NAN] or spoiled
        if worst:
            stack += worst
        else:
            origins.append(record)
    return min(origins, key=lambda record: record.number)


def cut_of(leaf: int, records: list[CallRecord]) -> CallRecord | None:
    """The first call of those behind the loss at which the gradient of the leaf is lost.

    A mask (`x > 0`) or an index (`x.long()`) has no gradient and needs none: it is to blame only where nothing else
    cuts.
    """
    cuts = [record for record in records if record.cut and leaf in read_in(record)]
    return min(cuts, key=lambda record: (record.cut in (CAST, OPERATION), record.number), default=None)


def read_in(cut: CallRecord) -> set[int]:
    """Leaves whose gradient would go through the call, if it let one through."""
    found: set[int] = set()
    seen: set[int] = set()
    stack = [cut]
    while stack:
        record = stack.pop()
        if id(record) in seen:
            continue
        seen.add(id(record))
        if record.leaf:
            found.add(record.leaf)
        stack += [parent for parent in record.parents if not parent.cut]
    return found


def _on_purpose(record: CallRecord) -> bool:
    """Every infinity in the record's values was put there as a mask, or comes from outside."""
    if record.values == NAN:
        return False
    if record.operation in _MASKS:
        return True
    spoiled = [parent for parent in record.parents if parent.values != FINITE]
    if not record.operation:
        tensor = record.source() if record.source is not None else None
        return not isinstance(tensor, nn.Parameter)
    return bool(spoiled) and all(map(_on_purpose, spoiled))
