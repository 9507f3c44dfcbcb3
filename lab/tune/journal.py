"""What a supervisor tells of a study: events and scalars in the store of the study's own folder, for page and commands.

The step of a row is a count of what was told, so that it never goes back; a resumed study goes on counting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.store import AlertEvent, ImportanceEvent, Record, RunReader, RunWriter, StudyEvent, TrialEvent
from lab.tune.config import StudyConfig, WorkConfig
from lab.tune.ledger import TrialRow
from lab.tune.report import better
from lab.tune.retry import policy_rows

TRIALS, LOGS = "trials", "logs"
"""Folders inside a study's own: the runs of its trials, and what they wrote."""
IMPORTANCE_METHOD = "PED-ANOVA"
ENDED = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
"""Optuna's state of a trial that has ended -> as it is told."""


@dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """A trial as it is told."""

    number: int
    root: int
    attempt: int
    params: Mapping[str, Any]
    supervisor: int
    reports: int = 0
    seconds: float | None = None


class StudyJournal:
    """Writes the events of one supervisor.

    Args:
        config: the study.
        work: how this machine works on it; the study's folder lies in `work.outdir`.

    Raises:
        StoreError: another supervisor writes there, or the folder cannot be written.
    """

    def __init__(self, config: StudyConfig, work: WorkConfig) -> None:
        self.config = config
        self.folder = work.outdir / config.name
        self.best: float | None = None
        """Best value so far of a single objective."""
        self._states: dict[int, str] = {}
        """Number of a trial -> what was last told of it."""
        settings = {"study": config.to_json(), "n_trials": work.n_trials, "storage": work.storage}
        known = (self.folder / "events.db").exists()
        self._step = 0
        if known and work.resume:
            reader = RunReader(self.folder)
            self._step = (reader.summary().last_step or 0) + 1
            told = reader.events(kinds=("trial",), limit=1_000_000).events
            for event in told:
                self._states[event.payload["number"]] = event.payload["state"]
                if event.payload["state"] == "complete" and len(config.objectives) == 1:
                    self._note_best(event.payload["values"][config.objectives[0]])
            self._writer = RunWriter(work.outdir, config.name, settings, resume=True, step=self._step)
        else:
            self._writer = RunWriter(work.outdir, config.name, settings)

    def begin(self, storage: str, ordinal: int, work: WorkConfig) -> None:
        """This supervisor begins."""
        config = self.config
        self._record(
            StudyEvent(
                study=config.name,
                storage=storage,
                supervisor=ordinal,
                n_trials=work.n_trials,
                parallel=work.parallel,
                objectives=list(config.objectives),
                directions=list(config.directions),
                space=[each.to_json() for each in config.dimensions],
                sampler=config.sampler,
                pruner="hyperband" if config.prunes else "none",
                policy=policy_rows(),
            )
        )

    def trial(
        self,
        facts: TrialFacts,
        state: str,
        *,
        values: Mapping[str, float] | None = None,
        cause: str = "",
        reason: str = "",
        retried: bool = False,
    ) -> None:
        """A trial began or ended."""
        self._states[facts.number] = state
        self._record(
            TrialEvent(
                number=facts.number,
                root=facts.root,
                attempt=facts.attempt,
                state=state,
                params=dict(facts.params),
                values=dict(values or {}),
                reports=facts.reports,
                cause=cause,
                reason=reason,
                retried=retried,
                run=f"{TRIALS}/{trial_name(facts.number)}",
                seconds=facts.seconds,
                supervisor=facts.supervisor,
            )
        )
        if values:
            scalars = {f"value/{name}": value for name, value in values.items()}
            if len(values) == 1:
                self._note_best(next(iter(values.values())))
                assert self.best is not None
                scalars[f"best/{self.config.objectives[0]}"] = self.best
            self._writer.scalars(self._step, scalars)

    def catch_up(self, rows: Iterable[TrialRow]) -> None:
        """Tell of trials that have ended in the storage, though a supervisor died before it could tell so here."""
        for row in rows:
            state = ENDED.get(row.state)
            if state is None or self._states.get(row.number, "running") != "running":
                continue
            facts = TrialFacts(
                number=row.number,
                root=row.root,
                attempt=int(row.attrs.get("attempt", 0)),
                params=row.params,
                supervisor=-1 if row.owner is None else row.owner,
            )
            values = dict(zip(self.config.objectives, row.values, strict=True)) if state == "complete" else {}
            cause, reason = (str(row.attrs.get(name, "")) for name in ("cause", "reason"))
            self.trial(facts, state, values=values, cause=cause, reason=reason)

    def importances(self, found: Mapping[str, Mapping[str, float]], trials: int) -> None:
        """What the searched fields matter."""
        for objective, shares in found.items():
            self._record(
                ImportanceEvent(objective=objective, method=IMPORTANCE_METHOD, trials=trials, importances=dict(shares))
            )

    def alert(self, title: str, text: str, level: str = "warning") -> None:
        """Something that a person should look at."""
        self._record(AlertEvent(level=level, title=title, text=text))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._writer.finish("finished")
        elif issubclass(kind, KeyboardInterrupt):
            self._writer.finish("finished", "interrupted; --resume goes on")
        else:
            self._writer.finish("failed", f"{kind.__name__}: {error}")

    def _note_best(self, value: float) -> None:
        if self.best is None or better(self.config.directions[0], value, self.best):
            self.best = value

    def _record(self, record: Record) -> None:
        self._writer.record(self._step, record)
        self._step += 1


def trial_name(number: int) -> str:
    """Name of the folder of a trial's run."""
    return f"trial-{number:04d}"


def log_file(folder: Path, number: int) -> Path:
    """File of what a trial wrote, in the study's folder."""
    return folder / LOGS / f"{trial_name(number)}.log"
