"""Other tools are told what the run's store is told, change nothing in the run, and cost it nothing when they fail."""

import json

import pytest

from lab.base import ConfigError
from lab.cli import main
from lab.runs import Run, TensorBoardExporter, TrackioExporter
from lab.runs.exporter import EVENTS
from lab.store import RunReader


class ListExporter:
    """Keeps what it is told; `full` is a disk that is full after so many rows."""

    name, package = "a list", "json"

    def __init__(self, full=None):
        self.full, self.rows, self.events, self.opened, self.closed = full, [], [], [], 0

    def open(self, run_dir, config, step):
        self.opened.append((run_dir.name, config["seed"], step))

    def scalars(self, step, values):
        if self.full is not None and len(self.rows) >= self.full:
            raise OSError(28, "No space left on device")
        self.rows.append((step, dict(values)))

    def event(self, step, record):
        self.events.append((step, record.kind))

    def close(self):
        self.closed += 1


@pytest.fixture(scope="module")
def fixed(make_config):
    return make_config(recipe="fixed", epochs=2)


@pytest.fixture(scope="module")
def plain(fixed, tmp_path_factory):
    return Run(fixed, save_dir=tmp_path_factory.mktemp("runs"), name="plain").execute()


def stored(folder):
    """Every number of a run: (step, name) -> value."""
    rows = RunReader(folder).scalars()
    return {(step, name): value for step, name, value in zip(rows.step, rows.name, rows.value, strict=True)}


def test_an_exporter_is_told_every_number_and_the_short_events(fixed, plain, tmp_path):
    exporter = ListExporter()
    report = Run(fixed, save_dir=tmp_path, name="told", exporters=(exporter,)).execute()
    assert report.digest == plain.digest
    assert exporter.opened == [("told", 0, None)]
    assert exporter.closed == 1
    told = {(step, name): value for step, values in exporter.rows for name, value in values.items()}
    assert told == pytest.approx(stored(tmp_path / "told"), nan_ok=True)
    assert ("test/accuracy") in {name for _, name in told}
    kinds = [(event.step, event.kind) for event in RunReader(tmp_path / "told").events().events]
    assert exporter.events == [item for item in kinds if item[1] in EVENTS]
    assert exporter.events


def test_a_tool_that_cannot_write_is_told_no_more_and_the_run_goes_on(fixed, plain, tmp_path):
    broken, other = ListExporter(full=3), ListExporter()
    report = Run(fixed, save_dir=tmp_path, name="full", exporters=(broken, other)).execute()
    assert (report.state, report.digest) == ("finished", plain.digest)
    assert len(broken.rows) == 3
    assert len(other.rows) > 3
    (alert,) = [
        e.payload
        for e in RunReader(tmp_path / "full").events(kinds=("alert",)).events
        if e.payload["title"] == "Export ended"
    ]
    assert "a list is told no more: [Errno 28] No space left on device" in alert["text"]


def test_a_tool_that_is_not_installed_is_refused_before_anything_is_written(fixed, tmp_path):
    missing = ListExporter()
    missing.package = "no_such_tool"
    with pytest.raises(ConfigError, match="no_such_tool for --export, found no no_such_tool"):
        Run(fixed, save_dir=tmp_path / "runs", name="none", exporters=(missing,))
    assert not (tmp_path / "runs").exists()


def test_another_name_is_refused(tmp_path, capsys):
    assert main(["train", "fixed", "--export", "wandb", "--save-dir", str(tmp_path / "runs")]) == 2
    assert "--export with tensorboard or trackio, got 'wandb'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_tensorboard_reads_what_was_told(fixed, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Run(fixed, save_dir=tmp_path, name="board", exporters=(TensorBoardExporter(),)).execute()
    found = reader.EventAccumulator(str(tmp_path / "board" / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    told = {(item.step, tag): item.value for tag in found.Tags()["scalars"] for item in found.Scalars(tag)}
    assert told == pytest.approx(stored(tmp_path / "board"), rel=1e-6, nan_ok=True)
    assert any("phase" in tag for tag in found.Tags()["tensors"])


def test_trackio_reads_what_was_told(fixed, tmp_path, monkeypatch, capsys):
    storage = pytest.importorskip("trackio.sqlite_storage")
    monkeypatch.setattr(storage, "TRACKIO_DIR", tmp_path / "trackio")
    Run(fixed, save_dir=tmp_path, name="trackio_run", exporters=(TrackioExporter(),)).execute()
    assert capsys.readouterr().out == ""
    rows = storage.SQLiteStorage.get_logs("lab", "trackio_run")
    told = {
        (row["step"], name): value for row in rows for name, value in row.items() if name not in ("step", "timestamp")
    }
    assert told == pytest.approx(stored(tmp_path / "trackio_run"), nan_ok=True)
    assert json.dumps(sorted({step for step, _ in told}))
