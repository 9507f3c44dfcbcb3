"""What a run ended with."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.base import Report, ReportTable, StoreError, parse_json

REPORT_FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class RunReport(Report):
    """The end of one training run; the test split was read for it once."""

    name: str
    run_dir: str
    recipe: str
    dataset: str
    """Title of the data set; synthetic ones say so."""
    state: str
    """finished, or stopped: a person ended it and it can be resumed."""
    epochs: int
    steps: int
    seconds: float
    """Wall-clock time of this attempt."""
    seed: int
    network: dict[str, Any] = field(default_factory=dict)
    """Genotype, parameters and mutations."""
    decision_loss: float | None = None
    decision_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    """Share of the test split classified correctly; None where the run was stopped."""
    test_losses: dict[str, float] = field(default_factory=dict)
    """Loss on the test split of each task, where there are several."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One record for each epoch: phase, losses, accuracies."""
    digest: str = ""
    """SHA-256 over weights, optimizers, architecture parameters and statistics at the end."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return asdict(self)

    def tables(self) -> tuple[ReportTable, ...]:
        """One table of facts."""
        rows = [
            ("state", self.state),
            ("data", self.dataset),
            ("epochs, steps", f"{self.epochs}, {self.steps} in {self.seconds:.1f} s"),
            ("parameters", f"{self.network.get('parameters', 0):,}"),
        ]
        if average := self.network.get("weight_average"):
            rows.append(("weights read", f"running average, decay {average['decay']:g}, of {average['steps']} steps"))
        if mutations := self.network.get("mutations"):
            rows.append(("mutations", ", ".join(f"{count} {what}" for what, count in mutations.items())))
            rows.append(("largest output difference", f"{self.network['largest_difference']:.2e}"))
        if actions := self.network.get("actions"):
            rows.append(("actions", ", ".join(f"{count} {what}" for what, count in actions.items())))
            rows.append(("largest output difference", f"{self.network['largest_difference']:.2e}"))
        if self.decision_accuracy is not None:
            rows.append(("decision accuracy", f"{self.decision_accuracy:.2%}"))
        if self.test_accuracy is not None:
            rows.append(("test accuracy", f"{self.test_accuracy:.2%} (read once, at the end)"))
        rows += [(f"test loss of {name}", f"{loss:.4f}") for name, loss in self.test_losses.items()]
        rows.append(("folder", self.run_dir))
        more = " --extend EPOCHS" if self.state == "finished" else ""
        notes = (f"go on with: lab train --resume {self.run_dir}{more}",)
        return (ReportTable(title=f"run {self.name}", columns=("what", "value"), rows=tuple(rows), notes=notes),)

    def write(self) -> Path:
        """Write the report as JSON into the run's folder; a reader finds the old one or the new one, never half of it.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = Path(self.run_dir) / REPORT_FILE
        # Beside it: only within one file system is a rename one step.
        temporary = path.with_name(f".{REPORT_FILE}.{os.getpid()}")
        try:
            with temporary.open("w", encoding="utf-8") as handle:
                handle.write(self.to_json())
                handle.flush()
                # Else the new name may reach the disk before the text does.
                os.fsync(handle.fileno())
            temporary.replace(path)
        except OSError as error:
            raise StoreError(f"a run folder {self.run_dir} that can be written", str(error), "free space") from error
        return path

    @classmethod
    def read(cls, run_dir: str | Path) -> "RunReport":
        """The report of a run that ended.

        Raises:
            StoreError: there is none, or a damaged one.
        """
        path = Path(run_dir) / REPORT_FILE
        if not path.is_file():
            raise StoreError("the report of a run that ended", f"no {path}", "wait for its end or resume it")
        try:
            return cls(**parse_json(path.read_bytes()))
        except (TypeError, ValueError, OSError) as error:
            hint = "remove it; a resumed run writes it again"
            raise StoreError(f"a report of lab train in {path}", f"{type(error).__name__}: {error}", hint) from error
