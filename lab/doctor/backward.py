"""Name the line that broke a backward pass.

Covered: values that were overwritten before backward read them, whether torch notices (an error) or not (wrong
gradients without a word); graphs that are walked a second time; writes to leaves. Not covered: bytes changed outside
torch on devices other than the CPU; what runs under saved-tensor hooks (checkpointed parts) is watched only at its
inputs and weights. What it costs is measured by `lab bench doctor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from lab.base import Report, ReportTable, require_range
from lab.doctor.faults import EARLIER, FIXES, LEAF, META, category_of, culprits_of
from lab.doctor.graph import GraphWatch
from lab.doctor.modes import watching
from lab.doctor.names import Names, model_tensors
from lab.doctor.place import Place, traceback_place
from lab.doctor.records import Holder, Moment, Observation, Write
from lab.doctor.write_log import WriteLog

_LEAF_TEXTS = (
    "a leaf Variable that requires grad is being used in an in-place operation",
    "a view of a leaf Variable that requires grad is being used in an in-place operation",
    "is a view and is being modified inplace",
)
_GRAPH_TEXTS = ("has been modified by an inplace operation", "backward through the graph a second time")
_META_TEXT = "expected device meta"


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """How closely bytes are watched for writes outside torch."""

    patrol_tensors: int = 1
    """Saved tensors, beside those that numpy shares, whose bytes are compared before each operation; 0 and more. More:
    slower, and closer brackets for writes through memory that nothing shows to be shared."""
    patrol_bytes: int = 2**16
    """Bytes compared before each operation: of memory that numpy shares at most (one tensor at least), of other memory
    on an average; 1 and more."""

    def __post_init__(self) -> None:
        require_range("patrol_tensors", self.patrol_tensors, 0)
        require_range("patrol_bytes", self.patrol_bytes, 1)


@dataclass(frozen=True, kw_only=True)
class BackwardFinding:
    """One fault of a backward pass."""

    category: str
    """Kind of fault, one of those in `lab.doctor.faults.FIXES`."""
    silent: bool
    """Torch raises nothing: the gradients are wrong."""
    tensor: str
    """Name of the tensor, with what it is; `a tensor without a name` for an activation that nothing holds."""
    culprit: Place | None
    """The line that wrote, or in a second backward the line that made the value carried over; None: not seen."""
    culprit_operation: str
    """The operation of that line."""
    bracket: tuple[str, str] | None
    """For a write that was not seen: the operations after which and before which it happened, with their lines."""
    bracket_places: tuple[Place | None, Place | None] | None
    """The places of those two operations."""
    also: tuple[Place, ...]
    """Further lines that wrote to the same memory."""
    victim_operation: str
    """The node of the graph that needed the old value."""
    victim: Place | None
    """The line that made this node."""
    backward: Place | None
    """The line that called backward."""
    freed_by: Place | None
    """In a second backward: the line of the first one."""
    fix: str
    """What to do."""
    message: str
    """Torch's own message; empty for a silent fault."""

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready data."""
        data = dict(vars(self))
        for name in ("culprit", "victim", "backward", "freed_by"):
            data[name] = None if data[name] is None else data[name].to_dict()
        data["also"] = [place.to_dict() for place in self.also]
        if self.bracket_places is not None:
            data["bracket_places"] = [None if place is None else place.to_dict() for place in self.bracket_places]
        return data

    def rows(self) -> tuple[tuple[str, str], ...]:
        """What is known, one fact a row."""
        carried = self.freed_by is not None
        facts = (
            ("tensor", self.tensor),
            ("made by" if carried else "written by", _at(self.culprit_operation, self.culprit)),
            ("written after", self.bracket[0] if self.bracket else ""),
            ("written before", self.bracket[1] if self.bracket else ""),
            ("and by", "; ".join(map(str, self.also))),
            ("needed by", _at(self.victim_operation, self.victim)),
            ("freed by", _unless_command(self.freed_by)),
            ("backward", _unless_command(self.backward)),
            ("fix", self.fix),
        )
        return tuple((name, value) for name, value in facts if value)


@dataclass(frozen=True, kw_only=True)
class BackwardReport(Report):
    """What `explain_backward` found."""

    findings: tuple[BackwardFinding, ...]
    method: str
    """How nodes of the graph were met: node_creation_hook, or the saved-tensor walk."""
    operations: int
    """Operations of torch that were watched; those of an optimizer's step or of a backward that can spoil nothing are
    not, and such a backward counts as one."""
    nodes: int
    """Nodes of the graph that were made."""
    unwatched: int
    """Nodes whose saved tensors could not be read: made under saved-tensor hooks, or a whole part that is run again."""

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return {
            "ok": self.ok,
            "method": self.method,
            "operations": self.operations,
            "nodes": self.nodes,
            "unwatched": self.unwatched,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """A line for the run and a table for each finding."""
        verdict = "nothing found" if self.ok else f"{len(self.findings)} found"
        text = f"{self.operations} operations, {self.nodes} nodes, watched by {self.method}"
        why = "checkpoints and saved-tensor hooks hide what they need"
        notes = [f"{self.unwatched} nodes were not watched: {why}"] if self.unwatched else []
        head = ReportTable(title=f"Backward: {verdict} ({text})", columns=(), rows=(), notes=tuple(notes))
        found = [
            ReportTable(
                title=f"{finding.category}: {'gradients are wrong without an error' if finding.silent else 'error'}",
                columns=("what", "found"),
                rows=finding.rows(),
            )
            for finding in self.findings
        ]
        return (head, *found)


def explain_backward(
    fn: Callable[[], object], *, model: nn.Module | None = None, config: WatchConfig | None = None
) -> BackwardReport:
    """Run `fn`, and name what broke its backward passes.

    Args:
        fn: runs forward and backward, once or in a loop; what it changes stays changed.
        model: gives tensors their names; without it the names of variables are used.
        config: how closely bytes are watched.

    Returns:
        The findings: at most one that torch raised (it ended the run), and every silent one.

    Raises:
        Exception: whatever `fn` raises that is no fault of a backward pass, unchanged.
    """
    config = config or WatchConfig()
    write_log = WriteLog(config.patrol_tensors, config.patrol_bytes)
    names = Names(model, explain_backward.__code__)
    graph = GraphWatch(write_log, names)
    raised: BackwardFinding | None = None
    with watching(graph, write_log) as method:
        try:
            fn()
        except RuntimeError as error:
            with names.with_traceback(error.__traceback__):
                raised = _explain(error, graph, model)
            if raised is None:
                raise
    # A loop shows the same fault at each turn: it is told once.
    silent = {finding.rows(): finding for finding in map(_describe, graph.silent)}
    return BackwardReport(
        findings=(*silent.values(), *([raised] if raised is not None else [])),
        method=method,
        operations=write_log.tick,
        nodes=graph.nodes,
        unwatched=graph.unwatched,
    )


def _explain(error: RuntimeError, graph: GraphWatch, model: nn.Module | None) -> BackwardFinding | None:
    """The finding behind an error that `fn` raised; None where it is none of a backward pass."""
    text = str(error)
    if graph.fault is not None and graph.fault.text == text:
        return _describe(graph.fault)
    elsewhere = graph.broken_elsewhere(text) if _GRAPH_TEXTS[0] in text else None
    if elsewhere is not None:
        return _describe(elsewhere)
    place, _ = traceback_place(error.__traceback__)
    if any(known in text for known in _LEAF_TEXTS):
        operation, holder = graph.failed_call
        return _plain(LEAF, tensor=str(holder), culprit=place, operation=operation, message=text)
    if any(known in text for known in _GRAPH_TEXTS):
        return _plain(EARLIER, tensor=str(Holder()), backward=place, message=text)
    if _META_TEXT in text:
        held = model_tensors(model) if model is not None else ()
        names = [str(holder) for holder, tensor in held if tensor.is_meta]
        return _plain(META, tensor=", ".join(dict.fromkeys(names)) or str(Holder()), backward=place, message=text)
    return None


def _plain(
    category: str,
    *,
    tensor: str,
    message: str,
    culprit: Place | None = None,
    operation: str = "",
    backward: Place | None = None,
) -> BackwardFinding:
    return BackwardFinding(
        category=category,
        silent=False,
        tensor=tensor,
        culprit=culprit,
        culprit_operation=operation,
        bracket=None,
        bracket_places=None,
        also=(),
        victim_operation="",
        victim=None,
        backward=backward,
        freed_by=None,
        fix=FIXES[category],
        message=message,
    )


def _describe(observation: Observation) -> BackwardFinding:
    writes = culprits_of(observation)
    category = category_of(observation, writes[0] if writes else None)
    record, bracket = observation.record, observation.bracket
    culprit, operation = _culprit(observation, writes)
    others = dict.fromkeys(_place(write.moment) for write in writes[1:])
    return BackwardFinding(
        category=category,
        silent=observation.kind == "silent",
        tensor=str(observation.holder),
        culprit=culprit,
        culprit_operation=operation,
        bracket=(str(bracket.after), str(bracket.before)) if bracket is not None else None,
        bracket_places=(_place(bracket.after), _place(bracket.before)) if bracket is not None else None,
        also=tuple(place for place in others if place is not None and place != culprit),
        victim_operation=record.operation,
        victim=_place(Moment(record.operation, record.site)),
        backward=_place(observation.running),
        freed_by=_place(record.released_by) if observation.kind == "second" and record.released_by else None,
        fix=FIXES[category],
        message=observation.text,
    )


def _culprit(observation: Observation, writes: tuple[Write, ...]) -> tuple[Place | None, str]:
    if observation.kind == "second":
        made = observation.carrier or observation.record
        return _place(Moment(made.operation, made.site)), made.operation
    return (_place(writes[0].moment), writes[0].moment.operation) if writes else (None, "")


def _place(moment: Moment) -> Place | None:
    return moment.site.place if moment.site is not None else None


def _unless_command(place: Place | None) -> str:
    return "" if place is None or place.is_command else str(place)


def _at(operation: str, place: Place | None) -> str:
    return f"{operation} at {place}" if place is not None else operation
