"""Studies page, and studies beside runs on the other pages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from components.feed import SnapshotFeed
from components.studies import StudyPicture, resume_command, runs_and_studies, trial_names, trial_rows

from lab.store import AlertEvent, ImportanceEvent, RunWriter, StudyEvent, TrialEvent

SPACE = [
    {"field": "rate", "low": 0.001, "high": 0.1, "log": True, "whole": False, "choices": []},
    {"field": "size", "low": None, "high": None, "log": False, "whole": False, "choices": [16, 32]},
]
POLICY = [["killed", "FAIL", "counted", "a signal ended the child"], ["exception", "FAIL", "never", "it raised"]]


class Study:
    """A study that a test writes by hand: made-up numbers through the real writer."""

    def __init__(self, root: Path, name: str, objectives: dict[str, str]) -> None:
        names, directions = list(objectives), list(objectives.values())
        study = {"objectives": names, "directions": directions, "dimensions": SPACE, "sampler": "tpe"}
        self.run = RunWriter(root, name, {"study": study, "n_trials": 4, "storage": ""})
        self.count = 0
        self.tell(
            StudyEvent(
                study=name,
                storage="journal:j.log",
                supervisor=0,
                n_trials=4,
                parallel=2,
                objectives=names,
                directions=directions,
                space=SPACE,
                sampler="tpe",
                pruner="none",
                policy=POLICY,
            )
        )

    def tell(self, record: Any) -> None:
        self.run.record(self.count, record)
        self.count += 1
        self.run.flush()

    def trial(self, number: int, state: str, root: int | None = None, **fields: Any) -> None:
        self.tell(
            TrialEvent(
                number=number,
                root=number if root is None else root,
                attempt=0 if root is None else 1,
                state=state,
                params={"rate": 0.01, "size": 32},
                run=f"trials/trial-{number:04d}",
                **fields,
            )
        )

    def some(self) -> None:
        """One killed attempt with its retry, one trial at 0.75, one that runs."""
        reason = "signal 9 ended the child"
        self.trial(0, "failed", cause="killed", reason=reason, retried=True)
        self.trial(1, "complete", values={"accuracy": 0.75}, seconds=2.0)
        self.trial(2, "complete", root=0, values={"accuracy": 0.5})
        self.trial(3, "running")


@pytest.fixture
def study(root: Path) -> Any:
    made: list[Study] = []

    def make(name: str = "small", **objectives: str) -> Study:
        made.append(Study(root, name, objectives or {"accuracy": "maximize"}))
        return made[-1]

    yield make
    for each in made:
        each.run.finish()


def picture(path: Path) -> StudyPicture:
    return StudyPicture.of(SnapshotFeed(path).refresh())


def studies_page(page: Any, **parameters: str) -> Any:
    page.open()
    page.app.switch_page("app_pages/studies.py")
    return page.open(**parameters)


def table(page: Any, column: str) -> Any:
    """The first table that has this column."""
    return next(table for table in page.tables if column in table)


def test_a_study_is_shown_with_best_trial_retries_and_policy(page: Any, study: Callable[..., Study]) -> None:
    made = study()
    made.some()
    made.tell(ImportanceEvent(objective="accuracy", method="M", trials=2, importances={"rate": 0.9, "size": 0.1}))
    made.tell(AlertEvent(level="warning", title="torn tail", text="[cut](http://x.y) off"))
    studies_page(page)
    assert page.kpis["Trials"] == "3 of 4"
    assert page.kpis["Best accuracy · trial 1"] == "0.75"
    rows = table(page, "retry of").to_dict("records")
    assert [row["trial"] for row in rows] == [3, 2, 1, 0]
    assert [row["state"] for row in rows] == ["▶ running", "✔ complete", "✔ complete", "✘ failed"]
    assert rows[1]["retry of"] == "0"
    assert (rows[3]["cause"], rows[3]["tried again"], rows[3]["reason"]) == (
        "killed",
        "yes",
        "signal 9 ended the child",
    )
    assert list(table(page, "meaning")["attempts"]) == ["1", "–"]
    assert list(table(page, "level")["what"]) == ["torn tail"]
    assert "M over 2 complete trials" in page.text
    assert set(page.charts) == {"study accuracy", "importances accuracy", "coordinates accuracy"}
    assert page.values("study accuracy", 1) == [0.75, 0.75]


def test_the_page_of_studies_follows_one_and_then_stands_still(page: Any, study: Callable[..., Study]) -> None:
    made = study()
    studies_page(page)
    assert "no trial has ended yet" in page.text
    assert page.clocks == [1.0]
    made.trial(0, "complete", values={"accuracy": 0.25})
    assert page.tick().kpis["Best accuracy · trial 0"] == "0.25"
    made.run.finish("finished", "interrupted; --resume goes on")
    page.tick()
    assert "interrupted; --resume goes on" in page.text
    assert "lab tune --resume --study small --outdir" in page.text


def test_only_a_study_with_trials_left_offers_to_resume(study: Callable[..., Study], root: Path) -> None:
    made = study()
    made.some()
    assert resume_command(picture(root / "small")) is None, "a supervisor works on it"
    made.run.finish()
    assert resume_command(picture(root / "small")) == f"lab tune --resume --study small --outdir {root}"
    whole = study("whole")
    for number in range(4):
        whole.trial(number, "complete", values={"accuracy": 0.1})
    whole.run.finish()
    assert resume_command(picture(root / "whole")) is None, "every trial has ended"


def test_a_trial_left_by_its_supervisor_is_not_running(study: Callable[..., Study], root: Path) -> None:
    made = study()
    made.some()
    made.run.finish()
    assert trial_rows(picture(root / "small"), 10)[0]["state"] == "⏸ left"


def test_a_field_with_the_name_of_a_column_has_one_of_its_own(study: Callable[..., Study], root: Path) -> None:
    made = study()
    fields = {"params": {"reason": 3, "accuracy": 0.1}, "values": {"accuracy": 0.9}, "run": ""}
    made.tell(TrialEvent(number=0, root=0, attempt=0, state="complete", **fields))
    row = trial_rows(picture(root / "small"), 10)[0]
    assert [row[name] for name in ("reason", "reason (field)", "accuracy", "accuracy (field)")] == ["", 3, 0.9, 0.1]


def test_an_objective_is_chosen_in_the_address(page: Any, study: Callable[..., Study]) -> None:
    made = study(accuracy="maximize", parameters="minimize")
    for number, (accuracy, parameters) in enumerate([(0.5, 10.0), (0.75, 30.0)]):
        made.trial(number, "complete", values={"accuracy": accuracy, "parameters": parameters})
    assert "Best accuracy · trial 1" in studies_page(page).kpis
    page.app.selectbox(key="objective").select("parameters")
    assert page.tick().kpis["Best parameters · trial 0"] == "10"
    assert page.app.query_params["objective"] == "parameters"


def test_trials_that_none_beats_are_marked_and_listed(page: Any, study: Callable[..., Study]) -> None:
    made = study(accuracy="maximize", parameters="minimize")
    for number, (accuracy, parameters) in enumerate([(0.5, 10.0), (0.75, 30.0), (0.4, 20.0), (0.75, 40.0)]):
        made.trial(number, "complete", values={"accuracy": accuracy, "parameters": parameters})
    made.trial(4, "pruned")
    studies_page(page)
    assert list(table(page, "none beats trial")["none beats trial"]) == [1, 0]
    name = "front parameters accuracy"
    assert (page.values(name, 0), page.values(name, 1)) == ([0.4, 0.75], [0.5, 0.75])
    page.app.selectbox(key="objective").select("parameters")
    assert "front accuracy parameters" in page.tick().charts


def test_one_objective_has_no_front(page: Any, study: Callable[..., Study]) -> None:
    study().some()
    assert not any("front" in name for name in studies_page(page).charts)


def test_the_studies_page_without_a_study_says_how_to_start_one(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 2)
    text = studies_page(page).text
    assert "No study yet in" in text
    assert "lab dashboard --save-dir studies" in text


def test_a_study_with_foreign_settings_or_none_is_said(page: Any, root: Path) -> None:
    with RunWriter(root, "odd", {"study": {"objectives": ["accuracy"]}}):
        pass
    text = studies_page(page).text
    assert "Study odd cannot be read" in text
    assert "KeyError: 'directions'" in text
    assert "No study named gone in" in page.open(study="gone").text


def test_a_study_is_no_broken_run(page: Any, study: Callable[..., Study], recorder: Callable[..., Any]) -> None:
    recorder("one").steps(0, 5)
    study().some()
    assert page.open().kpis["Step"] == "4"
    page.app.switch_page("app_pages/runs.py")
    page.tick()
    assert list(table(page, "run")["run"]) == ["one"]
    assert "the Studies page shows them: small" in page.text


def test_the_live_page_of_studies_alone_says_where_they_are(page: Any, study: Callable[..., Study]) -> None:
    study().some()
    text = page.open().text
    assert "No run yet in" in text
    assert "the Studies page shows them: small" in text


def test_a_trial_opens_on_the_live_page(page: Any, study: Callable[..., Study], root: Path) -> None:
    study().some()
    with RunWriter(root / "small" / "trials", "trial-0001", {}) as run:
        run.scalars(6, {"loss": 1.0})
    studies_page(page)
    assert list(table(page, "retry of")["run"])[2] == "./?run=small%2Ftrials%2Ftrial-0001"
    page.app.button(key="open").click()
    page.tick()
    assert page.kpis["Step"] == "6"
    assert page.app.selectbox(key="run").value == "small/trials/trial-0001"


@pytest.mark.parametrize("asked", ["../runs/one", "one/x", "/", ""])
def test_an_address_outside_the_studies_has_no_trials(
    study: Callable[..., Study], recorder: Callable[..., Any], root: Path, asked: str
) -> None:
    recorder("one").steps(0, 2)
    study().some()
    # Runs at the very places that such an address could lead to.
    for place in (root.parent, root, root / "one"):
        RunWriter(place / "trials", "secret", {}).finish()
    assert trial_names(root, asked, runs_and_studies(root)[1]) == []


def test_an_address_leads_to_trials_that_are_there(study: Callable[..., Study], root: Path) -> None:
    study().some()
    with RunWriter(root / "small" / "trials", "trial-0001", {}):
        pass
    found = runs_and_studies(root)[1]
    assert trial_names(root, "small/../one", found) == ["small/trials/trial-0001"]
