"""What a search found, and what it was preferred to."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lab.base import Report, ReportTable
from lab.explore import Prior
from lab.space import SIZES, Genotype

CAVEAT = (
    "sizes: scores measure capacity, so they prefer the largest network that the limit of FLOPs allows; "
    "they do not say which size fits a budget of training."
)


@dataclass(frozen=True, kw_only=True)
class SearchReport(Report):
    """The end of one search."""

    space: str
    data: str
    """Title of the data set; synthetic ones say so."""
    seed: int
    best: dict[str, Any]
    """The found cell: its JSON, text, scores, score (their sum) and, where it was trained, the mean loss."""
    preferred_to: list[dict[str, Any]]
    """Runners-up, the prior's own best cell and the fixed baseline, each with why it is named."""
    evaluations: int
    """Cells that were scored."""
    trainings: int
    """Short trainings."""
    cpu_seconds: float
    budget: float
    evidence: str
    """How much evidence the budget paid for, or why there is none."""
    rungs: list[dict[str, Any]] = field(default_factory=list)
    """Cells, losses, reliabilities and weights of each rung."""
    prior: dict[str, Any] = field(default_factory=dict)
    """All that was compared; `Prior.from_json` reads it."""

    @property
    def genotype(self) -> Genotype:
        """The found cell."""
        return Genotype.from_json(self.best["cell"])

    def beliefs(self) -> Prior:
        """What the search believes of the space: for the start of another search or training."""
        return Prior.from_json(self.prior)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return dataclasses.asdict(self)

    def tables(self) -> tuple[ReportTable, ...]:
        """The cell, what it was preferred to, and how prior and evidence were weighed."""
        facts = [
            ("cell", self.best["text"]),
            ("score", _number(self.best["score"])),
            ("held-out loss", _number(self.best["loss"])),
            ("data", self.data),
            ("evaluations, trainings", f"{self.evaluations}, {self.trainings}"),
            ("CPU seconds", f"{self.cpu_seconds:.1f} of {self.budget:g}"),
            ("evidence", self.evidence),
        ]
        notes = (CAVEAT,) if self.space == SIZES.name else ()
        others = tuple(
            (row["why"], _number(row["score"]), _number(row["loss"]), row["differs"]) for row in self.preferred_to
        )
        tables = [
            ReportTable(
                title=f"search of {self.space}, seed {self.seed}",
                columns=("what", "value"),
                rows=tuple(facts),
                notes=notes,
            ),
            ReportTable(title="preferred to", columns=("what", "score", "loss", "differs in"), rows=others),
        ]
        if self.rungs:
            names = ("prior_reliability", "evidence_reliability", "prior_weight", "evidence_weight")
            rows = tuple(
                (str(len(rung["cells"])), str(rung["epochs"]), *(f"{rung[name]:.2f}" for name in names))
                for rung in self.rungs
            )
            columns = ("cells", "epochs", "reliability of prior", "of evidence", "weight of prior", "of evidence")
            tables.append(ReportTable(title="rungs of short trainings, two seeds each", columns=columns, rows=rows))
        return tuple(tables)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
