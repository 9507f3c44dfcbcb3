import json
import shutil

import pytest

from lab.base import CheckpointError, ConfigError, StoreError
from lab.checkpoint import list_checkpoints, load_checkpoint
from lab.runs import Run, RunConfig, RunReport, find_checkpoint, saved_config
from lab.store import RunReader, control


class Recorder:
    """Follows a run; calls `act(epoch, phase, batch)` after each step."""

    def __init__(self, act=None):
        self.steps = []
        self.texts = []
        self.act = act

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        self.steps.append((epoch, phase, batch))
        if self.act:
            self.act(epoch, phase, batch)

    def on_text(self, text):
        self.texts.append(text)


def train(config, folder, name="a", **fields):
    return Run(config, save_dir=folder, name=name, **fields).execute()


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory):
    """A run that went through; tests read it."""
    return train(make_config(), tmp_path_factory.mktemp("finished"))


def test_a_run_goes_through_the_phases_and_reports(finished):
    reader = RunReader(finished.run_dir)
    assert reader.state() == "finished"
    phases = [event.payload["phase"] for event in reader.events(kinds=("phase",)).events]
    cycle = ["arch_training", "mutation", "weight_retraining"]
    assert phases == ["warmup", *cycle, *cycle, "finished"]
    assert finished.epochs == 2 + 2 * 4
    assert finished.network["mutations"]["applied"] == 1
    assert finished.test_accuracy > 0.3, "it must have learnt something (ten classes)"
    mutations = [event.payload for event in reader.events(kinds=("mutation",)).events]
    assert mutations[0]["status"] == "applied"
    assert mutations[0]["difference"] <= 1e-5
    assert mutations[1]["status"] in ("accepted", "rejected")
    names = set(reader.names())
    assert {"loss", "accuracy", "grad_norm", "health", "lr", "temperature", "beta", "decision/loss"} <= names
    assert {"memory/rss", "memory/tensors", "test/accuracy", "arch/loss"} <= names


def test_report_is_written_read_and_printed(finished):
    assert RunReport.read(finished.run_dir) == finished
    assert "read once, at the end" in str(finished)
    assert json.loads(finished.to_json())["digest"] == finished.digest
    with pytest.raises(StoreError, match="the report of a run that ended"):
        RunReport.read(finished.run_dir + "-other")


def test_same_seed_same_bits_other_seed_other_bits(make_config, tmp_path, finished):
    again = train(make_config(), tmp_path, "b")
    other = train(make_config(seed=1), tmp_path, "c")
    assert again.digest == finished.digest
    assert again.test_loss == finished.test_loss
    assert other.digest != finished.digest


@pytest.mark.usefixtures("prompt_inbox")
@pytest.mark.parametrize("stop_at", [(1, "warmup", 3), (3, "arch_training", 1), (5, "weight_retraining", 2)])
def test_a_run_that_was_stopped_inside_an_epoch_ends_with_the_same_bits(make_config, tmp_path, finished, stop_at):
    folder = tmp_path / "stopped"

    def stop(epoch, phase, batch):
        if (epoch, phase, batch) == stop_at:
            control.send(folder / "a", "stop")

    first = train(make_config(), folder, observer=Recorder(stop))
    assert first.state == "stopped"
    assert first.test_accuracy is None, "the test split is read once, at the end"
    assert "lab train --resume" in str(first)
    path = find_checkpoint("latest", folder)
    second = Run(saved_config(path), save_dir=folder, resume=path).execute()
    assert second.digest == finished.digest
    assert second.test_loss == finished.test_loss
    assert RunReader(folder / "a").summary().attempt == 2


def test_checkpoints_are_kept_by_reason_and_name_what_they_are(finished, make_config):
    files = list_checkpoints(finished.run_dir + "/checkpoints")
    reasons = {file.reason for file in files}
    assert {"epoch", "pre_mutation", "best", "last"} <= reasons
    assert all(sum(file.reason == reason for file in files) <= 3 for reason in reasons)
    last = load_checkpoint(next(file.path for file in files if file.reason == "last"))
    assert RunConfig.from_json(last.base["config"]) == make_config()
    assert len(last.training_history) == finished.epochs
    pre = [load_checkpoint(file.path) for file in files if file.reason == "pre_mutation"]
    assert all(item.state["strategy"]["numbers"]["_phase"] == "mutation" for item in pre)


def test_resuming_elsewhere_is_refused_unless_allowed(finished, tmp_path, monkeypatch):
    path = find_checkpoint(finished.run_dir, tmp_path)
    monkeypatch.setattr("lab.runs.environment._processor", lambda: "another processor")
    with pytest.raises(CheckpointError, match="--allow-different-bits"):
        Run(saved_config(path), save_dir=tmp_path, resume=path)
    assert Run(saved_config(path), save_dir=tmp_path, resume=path, allow_different_bits=True).checkpoint


def test_a_checkpoint_of_another_architecture_is_refused(finished, make_config, tmp_path):
    shutil.copytree(finished.run_dir, tmp_path / "copy", ignore=shutil.ignore_patterns("report.json"))
    path = find_checkpoint(str(tmp_path / "copy"), tmp_path)
    with pytest.raises(CheckpointError, match="a checkpoint of this architecture"):
        Run(make_config(init_channels=8), save_dir=tmp_path, resume=path).execute()


def test_resume_names_what_it_did_not_find(tmp_path):
    with pytest.raises(CheckpointError, match="a run with a checkpoint"):
        find_checkpoint("latest", tmp_path)
    with pytest.raises(CheckpointError, match="nothing there"):
        find_checkpoint(str(tmp_path / "none.pt"), tmp_path)


def test_the_fixed_baseline_trains_on_the_same_loop(make_config, tmp_path):
    config = make_config(recipe="fixed", epochs=4)
    report = train(config, tmp_path, "fixed")
    assert report.test_accuracy > 0.3
    assert "mutations" not in report.network
    assert train(config, tmp_path, "again").digest == report.digest


def test_a_run_without_checkpoints_writes_none(make_config, tmp_path):
    report = train(make_config({"save_checkpoints": False}, epochs=1), tmp_path)
    assert not list_checkpoints(report.run_dir + "/checkpoints")
    assert report.network["genotype"] is not None, "a run that ends in the warm-up still leaves a network"


def test_settings_go_to_json_and_back(make_config):
    config = make_config()
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ConfigError, match="as saved by lab train"):
        RunConfig.from_json({"data": {}, "search": {"unknown": 1}, "monitor": {}})


@pytest.mark.parametrize(
    ("field", "value", "least"),
    [
        ("warmup_epochs", -3, 0),
        ("arch_training_epochs", -1, 0),
        ("weight_training_epochs", -2, 0),
        ("total_cycles", 0, 1),
        ("total_cycles", -3, 1),
    ],
)
def test_phases_of_negative_length_are_refused(make_config, field, value, least):
    with pytest.raises(ConfigError, match=f"{field} >= {least}, got {field} = {value}"):
        make_config({field: value})


def test_a_plan_of_no_epochs_is_refused(make_config):
    with pytest.raises(ConfigError, match="epochs of the whole plan >= 1"):
        make_config({"warmup_epochs": 0, "arch_training_epochs": 0, "weight_training_epochs": 0})


def test_a_damaged_newest_checkpoint_is_passed_over_and_named(make_config, tmp_path):
    train(make_config(epochs=3), tmp_path)
    (run_dir,) = tmp_path.iterdir()
    newest = list_checkpoints(run_dir / "checkpoints")[-1]
    newest.path.write_bytes(newest.path.read_bytes()[:-10])
    with pytest.warns(UserWarning, match=f"passed over a newer checkpoint: .*{newest.path.name}"):
        path = find_checkpoint(str(run_dir), tmp_path)
    assert path != newest.path
