"""Studies of `lab tune`: which folders hold one, and what the page says about one, as rows and text."""

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st

from components.charted import charted
from components.feed import Snapshot
from components.language import later, say
from components.words import ALERT_SIGNS, NOTHING, STATE_SIGNS, Kpi, clock_text, number
from lab.base import StoreError
from lab.charts import StudyTrial, best_trial, front_trials, logical_trials, study_trials
from lab.store import RunSummary, holds_study, list_runs

TRIALS = "trials"
"""Folder of a study with the runs of its trials."""
STATES = {
    "running": later("A supervisor works on the study."),
    "finished": later("The supervisor has ended."),
    "failed": later("The supervisor ended with an error."),
    "stale": later("No heartbeat; the supervisor ended without closing the study."),
}
"""What each state of a study means; its sign is that of a run."""
TRIAL_SIGNS = {
    "running": later("▶ running"),
    "left": later("⏸ left"),
    "complete": later("✔ complete"),
    "pruned": later("✂ pruned"),
    "failed": later("✘ failed"),
}
"""Sign and word of each state of a trial; `left`: told as running by a supervisor that has ended."""


@dataclass(frozen=True, kw_only=True)
class StudyPicture:
    """A study at one moment."""

    snapshot: Snapshot
    trials: tuple[StudyTrial, ...]
    objectives: Mapping[str, str]
    """Objective -> minimize or maximize."""
    space: tuple[Mapping[str, Any], ...]
    """The searched fields: field, low, high, log, choices."""
    n_trials: int
    """Logical trials that it is to have."""
    sampler: str

    @classmethod
    def of(cls, snapshot: Snapshot) -> "StudyPicture":
        """The study in `snapshot`.

        Raises:
            StoreError: the settings or the rows lack what a study's have.
        """
        path = snapshot.summary.path
        try:
            study = snapshot.config["study"]
            return cls(
                snapshot=snapshot,
                trials=study_trials(snapshot.events),
                objectives=dict(zip(study["objectives"], study["directions"], strict=True)),
                space=tuple(study["dimensions"]),
                n_trials=int(snapshot.config["n_trials"]),
                sampler=str(study["sampler"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            expected = say("the settings and rows of a study in {path}", path=path)
            got = say("others ({error})", error=f"{type(error).__name__}: {error}")
            raise StoreError(expected, got, say("take a back-up copy")) from error

    @property
    def running(self) -> bool:
        """Whether a supervisor works on it."""
        return self.snapshot.summary.state == "running"

    def importances(self, objective: str) -> tuple[Mapping[str, float], str]:
        """Shares of the searched fields and how they were found; empty where the supervisor has told none yet."""
        for event in reversed(self.snapshot.of("importance")):
            if event.payload["objective"] == objective:
                method, count = event.payload["method"], event.payload["trials"]
                told = say("{method} over {count:,} complete trials", method=method, count=count)
                return event.payload["importances"], told
        return {}, ""

    def policy_rows(self) -> list[dict[str, str]]:
        """The retry policy of the latest supervisor, and how many attempts have had each cause."""
        event = self.snapshot.latest("study")
        causes = Counter(trial.cause for trial in self.trials if trial.state == "failed")
        return [
            {
                say("cause"): cause,
                say("tried again"): retried,
                say("meaning"): meaning,
                say("attempts"): str(causes[cause] or NOTHING),
            }
            for cause, _, retried, meaning in ([] if event is None else event.payload["policy"])
        ]


@st.cache_data(max_entries=4096, show_spinner=False)
def _holds_study(path: str, started: float) -> bool:
    """Whether the store in `path`, whose latest attempt began at `started`, is that of a study."""
    return holds_study(path)


def runs_and_studies(root: Path) -> tuple[tuple[RunSummary, ...], tuple[RunSummary, ...]]:
    """The runs in `root`, and the studies there, the latest begun first.

    Raises:
        StoreError: `root` is no folder, or cannot be read.
    """
    found = list_runs(root)
    studies = tuple([run for run in found if _holds_study(str(run.path), run.attempt_started)])
    return tuple([run for run in found if run not in studies]), studies


def trial_names(root: Path, asked: str, studies: Sequence[RunSummary]) -> list[str]:
    """Names from `root` of all runs of the study that `asked` lies in, the latest first; none where it lies in none."""
    study = asked.partition("/")[0]
    if study not in [known.name for known in studies]:
        return []
    return [f"{study}/{TRIALS}/{run.name}" for run in list_runs(root / study / TRIALS)]


def kpis(picture: StudyPicture, objective: str) -> tuple[Kpi, ...]:
    """The headline numbers, in order."""
    states = Counter(trial.state for trial in logical_trials(picture.trials))
    ended = states["complete"] + states["pruned"]
    best = best_trial(picture.trials, objective, picture.objectives[objective])
    title = say("Best {objective}", objective=objective)
    if best is not None:
        title = say("Best {objective} · trial {number}", objective=objective, number=best.number)
    retries = sum(trial.number != trial.root for trial in picture.trials)
    return (
        Kpi(
            name="trials",
            label=say("Trials"),
            value=say("{begun:,} of {planned:,}", begun=sum(states.values()), planned=picture.n_trials),
            help=say("Logical trials that have begun; another attempt at a trial is no further trial."),
        ),
        Kpi(
            name="best",
            # The number alone is the value: a card has no room for more.
            label=title,
            value=NOTHING if best is None else number(best.values[objective]),
            help=say(
                "Of the complete trials; the study is to {direction} it.",
                direction=charted(picture.objectives[objective]),
            ),
        ),
        Kpi(
            name="ended",
            label=say("Ended well"),
            value=f"{ended:,}",
            help=say("{count:,} of them were pruned: ended early.", count=states["pruned"]),
        ),
        Kpi(
            name="failed",
            label=say("Failed"),
            value=f"{states['failed']:,}",
            help=say("For good, or not tried again yet; retries: {count:,}.", count=retries),
        ),
    )


def front_rows(picture: StudyPicture) -> list[dict[str, Any]]:
    """One row for each trial that no other one beats in every objective, the best in the first objective on top."""
    name, direction = next(iter(picture.objectives.items()))
    found = front_trials(picture.trials, picture.objectives)
    ranked = sorted(found, key=lambda trial: trial.values[name], reverse=direction == "maximize")
    rows = []
    for trial in ranked:
        row: dict[str, Any] = {
            say("none beats trial"): trial.number,
            **{each: trial.values[each] for each in picture.objectives},
        }
        for field, value in trial.params.items():
            row[_free(field, say("field"), row)] = value if isinstance(value, int | float) else str(value)
        rows.append(row)
    return rows


def trial_rows(picture: StudyPicture, limit: int) -> list[dict[str, Any]]:
    """One row for each attempt, the latest first; numbers stay numbers, so that a column can be sorted."""
    rows = []
    for trial in reversed(picture.trials[-limit:]):
        left = trial.state == "running" and not picture.running
        row: dict[str, Any] = {
            say("trial"): trial.number,
            say("state"): say(TRIAL_SIGNS["left" if left else trial.state]),
            say("run"): _link(picture.snapshot.summary, trial),
            say("retry of"): "" if trial.root == trial.number else str(trial.root),
            say("seconds taken"): None if trial.seconds is None else round(trial.seconds, 2),
            say("cause"): trial.cause,
            say("tried again"): say("yes") if trial.retried else "",
            say("reason"): trial.reason,
        }
        for name in picture.objectives:
            row[_free(name, say("value"), row)] = trial.values.get(name)
        for name, value in trial.params.items():
            row[_free(name, say("field"), row)] = value if isinstance(value, int | float) else str(value)
        rows.append(row)
    return rows


def _free(name: str, what: str, row: Mapping[str, Any]) -> str:
    """The name of a further column: a study may search a field that is called as another column is."""
    return f"{name} ({what})" if name in row else name


def has_run(study: RunSummary, trial: StudyTrial) -> bool:
    """Whether the trial has left a run; those of an evaluation of one's own have none."""
    return bool(trial.run) and (study.path / trial.run / "events.db").is_file()


def _link(study: RunSummary, trial: StudyTrial) -> str | None:
    """Address of the trial's run on the Live page, from the page of studies."""
    return f"./?run={quote(f'{study.name}/{trial.run}', safe='')}" if has_run(study, trial) else None


def alert_rows(snapshot: Snapshot, limit: int = 8) -> list[dict[str, str]]:
    """The latest alerts with level, time and reason, newest first; a study's steps count what was told, no more."""
    return [
        {
            say("level"): say(ALERT_SIGNS.get(str(event.payload["level"]), str(event.payload["level"]))),
            say("time"): clock_text(event.time),
            say("what"): str(event.payload["title"]),
            say("reason"): str(event.payload["text"]),
        }
        for event in reversed(snapshot.of("alert")[-limit:])
    ]


def study_rows(studies: Sequence[RunSummary]) -> list[dict[str, str]]:
    """One row of text for each study."""
    return [
        {
            say("study"): study.name,
            say("state"): say(study.state),
            say("started"): clock_text(study.started)
            if math.isfinite(study.started) and study.started > 0
            else NOTHING,
            say("reason"): study.reason or say(STATES.get(study.state, STATE_SIGNS[study.state][2])),
        }
        for study in studies
    ]


def resume_command(picture: StudyPicture) -> str | None:
    """The command that goes on with a study that has trials left; None while one works on it, or none is left."""
    settled = [trial for trial in logical_trials(picture.trials) if trial.state != "running" and not trial.retried]
    if picture.running or len(settled) >= picture.n_trials:
        return None
    path = picture.snapshot.summary.path
    return f"lab tune --resume --study {shlex.quote(path.name)} --outdir {shlex.quote(str(path.parent))}"
