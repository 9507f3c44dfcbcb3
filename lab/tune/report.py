"""What a study has found so far, read from the events in its folder; needs neither Optuna nor torch."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.base import Report, ReportTable, StudyError
from lab.charts import pareto_front
from lab.store import RunReader
from lab.tune.config import StudyConfig
from lab.tune.dimension import with_settings

SHOWN = 10
"""Trials in a printed report, at most."""


@dataclass(frozen=True, kw_only=True)
class StudyReport(Report):
    """A study, as far as one machine has seen it."""

    name: str
    folder: str
    storage: str
    state: str
    """running, finished, failed or stale, of its last supervisor."""
    n_trials: int
    """Logical trials that it is to have."""
    objectives: list[str]
    directions: list[str]
    trials: list[dict[str, Any]]
    """The last event of every attempt, in order of the numbers."""
    runs: bool = True
    """Whether its trials are runs of `lab train`."""
    importances: dict[str, dict[str, float]] = field(default_factory=dict)
    """Objective -> searched field -> share."""
    alerts: list[str] = field(default_factory=list)
    """What was repaired, given back or refused."""

    @classmethod
    def read(cls, folder: Path) -> "StudyReport":
        """The study in `folder`.

        Raises:
            StoreError: no study's folder, or a damaged one.
            StudyError: it is the folder of something else.
        """
        reader = RunReader(folder)
        rows = reader.events(kinds=("study", "trial", "importance", "alert"), limit=1_000_000).events
        began = [row.payload for row in rows if row.kind == "study"]
        if not began:
            raise StudyError(f"the folder of a study at {folder}", "that of a run", "give a folder of lab tune")
        trials = {row.payload["number"]: row.payload for row in rows if row.kind == "trial"}
        found = {row.payload["objective"]: row.payload["importances"] for row in rows if row.kind == "importance"}
        return cls(
            name=began[-1]["study"],
            folder=str(folder),
            storage=began[-1]["storage"],
            state=reader.state(),
            n_trials=began[-1]["n_trials"],
            objectives=began[-1]["objectives"],
            directions=began[-1]["directions"],
            runs="recipe" in reader.config()["study"]["base"],
            trials=[trials[number] for number in sorted(trials)],
            importances=found,
            alerts=[f"{row.payload['title']}: {row.payload['text']}" for row in rows if row.kind == "alert"],
        )

    def counts(self) -> dict[str, int]:
        """How many logical trials are complete, pruned, failed for good, running; and how many attempts there were."""
        last = {trial["root"]: trial for trial in self.trials}
        states = [trial["state"] for trial in last.values()]
        found = {state: states.count(state) for state in ("complete", "pruned", "failed", "running")}
        return {**found, "logical": len(last), "attempts": len(self.trials)}

    def best(self) -> list[dict[str, Any]]:
        """The best complete trial; of several objectives, those that no other trial beats in every one."""
        values = {
            trial["number"]: [trial["values"][name] for name in self.objectives]
            for trial in self.trials
            if trial["state"] == "complete"
        }
        front = set(pareto_front(values, self.directions))
        found = [trial for trial in self.trials if trial["number"] in front]
        # Of equal ones the first: more trials with the same value say nothing more.
        return found[:1] if len(self.objectives) == 1 else found

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {**asdict(self), "counts": self.counts(), "best": self.best()}

    def tables(self) -> tuple[ReportTable, ...]:
        """State, best trials, what matters, what failed."""
        counts = self.counts()
        facts = [
            ("state", self.state),
            ("storage", self.storage),
            ("trials", f"{counts['logical']} of {self.n_trials} ({counts['attempts']} attempts)"),
            ("ended", ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed"))),
        ]
        tables = [ReportTable(title=f"study {self.name}", columns=("what", "value"), rows=tuple(facts))]
        tables += [self._best_table(), *map(self._importance_table, self.importances)]
        failed = tuple(
            (str(trial["number"]), trial["cause"], "yes" if trial["retried"] else "no", trial["reason"])
            for trial in self.trials
            if trial["state"] == "failed"
        )
        if failed:
            columns = ("attempt", "cause", "retried", "reason")
            tables.append(ReportTable(title="failed attempts", columns=columns, rows=failed))
        return tuple(tables)

    def _best_table(self) -> ReportTable:
        best = self.best()
        if not best:
            return ReportTable(title="no trial is complete yet", columns=(), rows=())
        fields = list(best[0]["params"])
        rows = tuple(
            (
                str(trial["number"]),
                *(f"{trial['values'][name]:.6g}" for name in self.objectives),
                *(_short(trial["params"].get(name)) for name in fields),
                trial["run"],
            )
            for trial in best[:SHOWN]
        )
        title = "best trial" if len(self.objectives) == 1 else f"trials that none beats ({len(best)})"
        # Of runs alone: any other evaluation has no such command.
        notes = (f"train it anew with: lab train --from-study {self.folder}",) if self.runs else ()
        return ReportTable(title=title, columns=("trial", *self.objectives, *fields, "run"), rows=rows, notes=notes)

    def _importance_table(self, objective: str) -> ReportTable:
        rows = tuple((name, f"{share:.1%}") for name, share in self.importances[objective].items())
        return ReportTable(title=f"what matters for {objective}", columns=("field", "share"), rows=rows)


def best_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run of the best trial of the study in `folder`, as JSON data.

    Raises:
        StoreError: no study there.
        StudyError: it has no complete trial, several objectives without one best trial, or no runs.
    """
    # Only here: the reports above are read without the settings of runs.
    from lab.runs import RunConfig

    report = StudyReport.read(folder)
    best = report.best()
    if not best:
        raise StudyError(f"a complete trial in study {report.name}", "none", "wait for one, or resume it")
    if len(best) > 1:
        numbers = ", ".join(str(trial["number"]) for trial in best)
        hint = f"resume from one of them: lab train --resume {folder}/{best[0]['run']}"
        raise StudyError(f"one best trial in study {report.name}", f"{len(best)} that none beats: {numbers}", hint)
    study = StudyConfig.from_json(RunReader(folder).config()["study"])
    if "recipe" not in study.base:
        raise StudyError(f"a study of runs in {folder}", f"one of {study.target}", "give a study of lab tune")
    return with_settings(RunConfig.from_json(dict(study.base)), best[0]["params"]).to_json()


def better(direction: str, one: float, two: float) -> bool:
    """Whether `one` is better than `two`."""
    return one > two if direction == "maximize" else one < two


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
