"""Runs side by side."""

from collections.abc import Callable
from typing import Any

from components.compare import best_rows, common_scalars, config_rows, run_rows
from components.feed import SnapshotFeed

from lab.store import list_runs


def test_only_settings_that_differ_are_listed() -> None:
    rows = config_rows({"a": {"seed": 0, "data": {"name": "digits"}}, "b": {"seed": 1, "data": {"name": "digits"}}})
    assert rows == [{"setting": "seed", "a": "0", "b": "1"}]


def test_a_setting_that_one_run_lacks_is_a_dash() -> None:
    rows = config_rows({"a": {"search": {"layers": 3}}, "b": {}})
    assert rows == [{"setting": "search.layers", "a": "3", "b": "–"}]


def test_best_values_come_with_their_steps(recorder: Callable[..., Any]) -> None:
    run = recorder()
    for step, loss in enumerate([2.0, 0.5, float("nan"), 1.0]):
        run.run.scalars(step, {"loss": loss})
    run.run.flush()
    snapshots = {"run": SnapshotFeed(run.path).refresh()}
    assert best_rows(snapshots, "loss") == [
        {"run": "run", "smallest": "0.5 at step 1", "largest": "2 at step 0", "last": "1 at step 3"}
    ]
    assert best_rows(snapshots, "nothing")[0]["last"] == "–"


def test_usual_scalars_stand_first(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.steps(0, 2, aaa=1.0)
    run.epoch(2, 0)
    names = common_scalars({"run": SnapshotFeed(run.path).refresh()})
    assert names[:3] == ("decision/accuracy", "decision/loss", "loss")
    assert names.index("aaa") > names.index("health")


def test_every_run_has_a_row_with_state_and_reason(recorder: Callable[..., Any], root: Any) -> None:
    recorder("one").run.finish("failed", "out of luck")
    (root / "empty").mkdir()
    rows = {row["run"]: row for row in run_rows(list_runs(root))}
    assert (rows["one"]["state"], rows["one"]["reason"]) == ("failed", "out of luck")
    assert rows["empty"]["state"] == "unreadable"
    assert "events.db" in rows["empty"]["reason"]
