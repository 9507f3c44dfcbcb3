"""The kinds of event that a run can hold: one frozen record each.

Covers what a reader may count on being in an event's payload. Numbers, strings and JSON only: no tensor, no object.
An edge is `(cell type, target node, source node)`; a genotype is the JSON form of `lab.space.Genotype.to_json`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab.store.observations import ImagesEvent, LayersEvent, PredictionsEvent, ProofEvent


@dataclass(frozen=True, kw_only=True)
class PhaseEvent:
    """A phase begins."""

    kind: ClassVar[str] = "phase"
    phase: str
    """warmup, arch_training, mutation, weight_retraining, training (of a recipe without a search) or finished."""
    epoch: int
    """First epoch of the phase, counted from 0 over the whole run."""
    epochs: int
    """Planned length in epochs; 0 for a mutation."""
    cycle: int
    """Cycle number, counted from 0."""
    offers: list[str] = field(default_factory=list)
    """Commands that the run serves in this phase; empty in runs of versions that did not tell."""


@dataclass(frozen=True, kw_only=True)
class PlanEvent:
    """The run's size and length were chosen for a budget."""

    kind: ClassVar[str] = "plan"
    operations: float
    """Floating-point operations that the run may spend: 3 x forward x images."""
    seconds: float | None
    """Seconds that were asked for; None where operations were."""
    channels: int
    """Of the first stage."""
    layers: int
    """Cells."""
    epochs: int
    steps: int
    candidates: list[dict[str, Any]]
    """The widths that were weighed: channels, operations and seconds of an epoch, epochs in the budget."""
    reasons: list[str]
    """Why each of these, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class GenotypeEvent:
    """What the search believes at this moment, and the cell that the live network has."""

    kind: ClassVar[str] = "genotype"
    genotype: dict[str, Any]
    """The live network's genotype; before there is one, the most probable cell."""
    argmax_genotype: dict[str, Any]
    """The genotype that takes the most probable primitive on each edge."""
    edges: list[list[Any]]
    """`[cell type, target, source]` for each row of `probabilities`."""
    primitives: list[str]
    """Name of each column of `probabilities`."""
    probabilities: list[list[float]]
    """softmax(alpha / temperature), one row for each edge."""
    entropy: list[float]
    """Entropy of each row in nats."""
    drawable: list[list[int]] = field(default_factory=list)
    """Columns of `probabilities` that can be drawn, a row for each edge; empty in runs of earlier versions."""
    skip_share: float
    """Share of edges of `argmax_genotype` that are a skip connection, in [0, 1]."""
    dominance: float
    """Mean over the edges of the largest probability less the second largest, in [0, 1]."""
    rank: dict[str, int] = field(default_factory=dict)
    """True rank of `argmax_genotype` for each column of a loaded table, 1 the best; empty where no table is loaded."""
    diversity: float | None = None
    """Entropy of how often the latest draws used each primitive, over its largest value; None without a draw."""
    distance: float | None = None
    """Mean share of the edges on which the latest draws were not `argmax_genotype`; None without a draw."""
    strength: float | None = None
    """Mean of `entropy` over its largest value: how much exploration there is, in [0, 1]."""
    reason: str
    """epoch (a regular snapshot), taken (first live network), mutation, rollback."""


@dataclass(frozen=True, kw_only=True)
class MutationEvent:
    """A change of the live network's cell: applied, later accepted or rejected."""

    kind: ClassVar[str] = "mutation"
    number: int
    """Count of mutations of this run, from 1; the same number in the later accepted or rejected event."""
    status: str
    """applied, accepted, rejected or refused (nothing was changed)."""
    old: dict[str, Any]
    """Genotype before."""
    new: dict[str, Any]
    """Genotype after."""
    edits: list[list[Any]]
    """`[cell type, target, source, old primitive, new primitive]` for each changed edge."""
    difference: float | None
    """Largest absolute output change over largest absolute output, eval mode, at the moment of the change."""
    requested: str
    """schedule or control (a person pressed *mutate now*)."""
    reason: str
    """One sentence: why it was made, kept or rolled back."""
    loss_before: float | None = None
    """Loss on the selection split before the change, nats."""
    loss_after: float | None = None
    """Loss on the selection split when it was decided, nats."""


@dataclass(frozen=True, kw_only=True)
class GrowthEvent:
    """The network gained depth or width."""

    kind: ClassVar[str] = "growth"
    what: str
    """depth or width."""
    where: str
    """Module name."""
    parameters_before: int
    parameters_after: int
    difference: float
    """Relative output change at the moment of the growth."""


@dataclass(frozen=True, kw_only=True)
class RollbackEvent:
    """The network was restored to an earlier moment."""

    kind: ClassVar[str] = "rollback"
    reason: str
    to_step: int
    """Step whose state was restored; steps themselves go on."""
    excluded: dict[str, Any] | None = None
    """Genotype that may not be chosen again until the next accepted one."""


@dataclass(frozen=True, kw_only=True)
class ActionEvent:
    """The evolution agent acted."""

    kind: ClassVar[str] = "action"
    action: str
    applied: bool
    accepted: bool
    reward: float | None
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InterventionEvent:
    """The trainer did what the stability monitor advised."""

    kind: ClassVar[str] = "intervention"
    action: str
    """reduce_lr, reduce_mutation_strength or rollback."""
    reason: str
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, kw_only=True)
class StabilityEvent:
    """The stability state changed, or a new epoch began."""

    kind: ClassVar[str] = "stability"
    health: float
    """In [0, 1]."""
    state: str
    """improving, plateau, oscillating, degraded, diverging or failed."""
    oscillation: float
    degradation: float
    trend: float
    reasons: list[str] = field(default_factory=list)
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class TemperatureEvent:
    """The Gumbel temperature was set."""

    kind: ClassVar[str] = "temperature"
    temperature: float
    schedule: str
    """constant, linear, exponential, cosine, adaptive, or control (a person set it)."""
    held: bool = False
    """Whether it stays until a person releases it; in runs of earlier versions it never did."""


@dataclass(frozen=True, kw_only=True)
class MemoryEvent:
    """Memory in use, in bytes."""

    kind: ClassVar[str] = "memory"
    rss: int
    """Resident set of the training process."""
    tensors: int
    """Live tensor bytes: parameters, buffers, gradients and optimizer state, shared storages once."""
    device_allocated: int | None = None
    """Bytes that the accelerator's allocator has handed out; None on CPU."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckpointEvent:
    """A checkpoint was written."""

    kind: ClassVar[str] = "checkpoint"
    path: str
    """File name inside the run folder."""
    reason: str
    """epoch, pre_mutation, best, interrupt, control or last."""
    epoch: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class AlertEvent:
    """Something that a person should look at."""

    kind: ClassVar[str] = "alert"
    level: str
    """info, warning or error."""
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class OomEvent:
    """Memory ran out and something was done about it."""

    kind: ClassVar[str] = "oom"
    action: str
    micro_batch: int | None
    text: str


@dataclass(frozen=True, kw_only=True)
class ControlEvent:
    """A command of a person was carried out or refused."""

    kind: ClassVar[str] = "control"
    command: str
    arguments: dict[str, Any]
    done: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class StudyEvent:
    """A supervisor began to work on a study."""

    kind: ClassVar[str] = "study"
    study: str
    """Name of the study."""
    storage: str
    """Where it is kept, without a password."""
    supervisor: int
    """Ordinal of the supervisor among all of the study, from 0; a resumed study has a further one."""
    n_trials: int
    """Logical trials that the study is to have."""
    parallel: int
    """Children that evaluate at once."""
    objectives: list[str]
    directions: list[str]
    """minimize or maximize, one for each objective."""
    space: list[dict[str, Any]]
    """The searched fields: field, low, high, log, whole, choices."""
    sampler: str
    pruner: str
    policy: list[list[str]] = field(default_factory=list)
    """The retry policy: cause, state, retried, meaning."""


@dataclass(frozen=True, kw_only=True)
class TrialEvent:
    """A trial of a study began or ended; the later event of a number replaces the earlier one."""

    kind: ClassVar[str] = "trial"
    number: int
    """Of the attempt within the study."""
    root: int
    """Number of the first attempt of its logical trial; its own where it is that."""
    attempt: int
    """Within its logical trial, counted from 0."""
    state: str
    """running, complete, pruned or failed."""
    params: dict[str, Any]
    """Searched field -> value."""
    values: dict[str, float] = field(default_factory=dict)
    """Objective -> value, where it is complete."""
    reports: int = 0
    """Epochs that it reported."""
    cause: str = ""
    """Of a failure: a row of the retry policy."""
    reason: str = ""
    """Of a failure, in one sentence."""
    retried: bool = False
    """Whether a failed one is due for another attempt."""
    run: str = ""
    """Folder of its run, from the study's folder."""
    seconds: float | None = None
    """From the asking to the end; None while it runs."""
    supervisor: int = 0
    """Ordinal of the supervisor that asked for it."""


@dataclass(frozen=True, kw_only=True)
class ImportanceEvent:
    """What the searched fields matter for an objective, worked out by the supervisor from the trials so far."""

    kind: ClassVar[str] = "importance"
    objective: str
    method: str
    trials: int
    """Complete trials that it stands on."""
    importances: dict[str, float]
    """Searched field -> share, largest first."""


Record = (
    PhaseEvent
    | PlanEvent
    | GenotypeEvent
    | MutationEvent
    | GrowthEvent
    | RollbackEvent
    | ActionEvent
    | InterventionEvent
    | StabilityEvent
    | TemperatureEvent
    | MemoryEvent
    | CheckpointEvent
    | AlertEvent
    | OomEvent
    | ControlEvent
    | ProofEvent
    | ImagesEvent
    | PredictionsEvent
    | LayersEvent
    | StudyEvent
    | TrialEvent
    | ImportanceEvent
)

EVENT_RECORDS: dict[str, type[Record]] = {
    record.kind: record
    for record in (
        PhaseEvent,
        PlanEvent,
        GenotypeEvent,
        MutationEvent,
        GrowthEvent,
        RollbackEvent,
        ActionEvent,
        InterventionEvent,
        StabilityEvent,
        TemperatureEvent,
        MemoryEvent,
        CheckpointEvent,
        AlertEvent,
        OomEvent,
        ControlEvent,
        ProofEvent,
        ImagesEvent,
        PredictionsEvent,
        LayersEvent,
        StudyEvent,
        TrialEvent,
        ImportanceEvent,
    )
}
