"""`lab runs show` tells what is in a run; `lab runs restore` begins another one from its checkpoint."""

import json

import pytest

from lab.checkpoint import list_checkpoints, load_checkpoint
from lab.cli import main
from lab.runs import Run, RunConfig
from lab.space import Genotype
from lab.state import state_digest
from lab.store import InterventionEvent, RunLabel, RunReader, RunWriter, write_label
from lab.train import TrainingLoop


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that grew and mutated, whose monitor once lowered the rate; and how it ended."""
    config = RunConfig.from_fields(
        prior="none",
        retraining_epochs=0,
        mutation_test="before",
        warmup_epochs=1,
        arch_training_epochs=1,
        weight_training_epochs=2,
        total_cycles=3,
        growth="depth",
        device="cpu",
        checkpoint_frequency=2,
        max_checkpoints=9,
        train_limit=300,
        init_channels=4,
        layers=1,
        batch_size=32,
        threads=1,
        seed=5,
    )
    step = TrainingLoop._step

    def watched(self, *arguments):
        if self.global_step == 7:
            event = InterventionEvent(action="reduce_lr", reason="the loss swings", before=0.025, after=0.0125)
            self.sink.record(7, event)
        return step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "_step", watched)
        run = Run(config, save_dir=tmp_path_factory.mktemp("runs"), name="old")
        report = run.execute()
    return run, report


def show(capsys, run_dir):
    assert main(["runs", "show", str(run_dir), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_show_tells_settings_phases_cell_and_figures(trained, capsys):
    run, report = trained
    payload = show(capsys, run.run_dir)
    assert payload["state"] == "finished"
    assert payload["settings"]["search.total_cycles"] == 3
    assert payload["settings"]["data.train_limit"] == 300
    assert payload["settings"]["seed"] == 5
    assert "search.mutation_strength" not in payload["settings"], "only what differs from the defaults"
    assert [row["phase"] for row in payload["phases"]][:4] == [
        "warmup",
        "arch_training",
        "mutation",
        "weight_retraining",
    ]
    assert payload["genotype"] == str(Genotype.from_json(report.network["genotype"]))
    assert payload["mutations"] == report.network["mutations"]
    assert (payload["growths"][0]["what"], payload["growths"][0]["where"]) == ("depth", "backbone.cells.1")
    assert payload["figures"]["test/accuracy"] == report.test_accuracy
    assert payload["parent"] is None
    assert {"step": 7, "action": "reduce_lr 0.025 -> 0.0125", "reason": "the loss swings"} in payload["interventions"]


def test_show_names_every_checkpoint_and_what_does_not_read_whole(trained, capsys, tmp_path):
    run, _ = trained
    payload = show(capsys, run.run_dir)
    reasons = {row["reason"] for row in payload["checkpoints"]}
    assert reasons >= {"epoch", "pre_mutation", "best", "last"}
    assert all(row["fault"] == "" and row["bytes"] > 0 for row in payload["checkpoints"])
    path = next(f.path for f in list_checkpoints(run.run_dir / "checkpoints") if f.reason == "epoch")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    try:
        rows = {row["name"]: row["fault"] for row in show(capsys, run.run_dir)["checkpoints"]}
        assert main(["runs", "show", "old", "--save-dir", str(run.run_dir.parent)]) == 0
    finally:
        path.write_bytes(whole)
    assert "damaged" in rows.pop(path.name)
    assert set(rows.values()) == {""}
    text = capsys.readouterr().out
    assert "damaged" in text
    assert "whole" in text
    assert "the loss swings" in text
    assert "search.total_cycles" in text


def digests(folder):
    return {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".db-shm"
    }


def test_a_restored_run_goes_on_from_the_copy_and_ends_with_the_same_bits(trained, capsys):
    run, report = trained
    save_dir, before = run.run_dir.parent, digests(run.run_dir)
    chosen = [f for f in list_checkpoints(run.run_dir / "checkpoints") if f.reason == "pre_mutation"][1]
    flags = ["runs", "restore", "old", "--checkpoint", str(chosen.path), "--name", "new", "--save-dir", str(save_dir)]
    assert main([*flags, "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert (payload["epoch"], payload["parent"], payload["parent_digest"]) == (
        chosen.epoch,
        str(chosen.path),
        chosen.digest,
    )
    (copy,) = list_checkpoints(save_dir / "new" / "checkpoints")
    old, new = load_checkpoint(chosen.path), load_checkpoint(copy.path)
    assert copy.reason == "restored"
    assert copy.parent == chosen.digest
    assert state_digest(new.state) == state_digest(old.state)
    assert (new.base, new.plans, new.training_history) == (old.base, old.plans, old.training_history)
    assert RunReader(save_dir / "new").state() == "finished"
    assert main(["train", "--resume", str(save_dir / "new"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["digest"] == report.digest, "the same end as the old run"
    assert again["name"] == "new"
    assert digests(run.run_dir) == before, "the old run is not touched"
    assert show(capsys, save_dir / "new")["parent"] == str(chosen.path)


def test_best_is_restored_by_name_and_a_taken_name_is_refused(trained, capsys):
    run, _ = trained
    flags = ["runs", "restore", str(run.run_dir), "--checkpoint", "best", "--save-dir", str(run.run_dir.parent)]
    assert main([*flags, "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert "_best_" in payload["parent"]
    assert main([*flags, "--name", "old"]) == 2
    assert "no run in" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_not_restored(trained, capsys, tmp_path):
    run, _ = trained
    path = list_checkpoints(run.run_dir / "checkpoints")[0].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    try:
        flags = ["--checkpoint", str(path), "--name", "bad", "--save-dir", str(tmp_path)]
        assert main(["runs", "restore", str(run.run_dir), *flags]) == 2
    finally:
        path.write_bytes(whole)
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists(), "nothing is left behind"


@pytest.mark.parametrize("action", ["show", "restore"])
def test_no_run_is_one_line(capsys, tmp_path, action):
    assert main(["runs", action, "nowhere", "--save-dir", str(tmp_path)]) == 2
    assert "expected a run" in capsys.readouterr().err


def test_the_list_tells_what_a_person_said_of_a_run(tmp_path, capsys):
    with RunWriter(tmp_path, "one", {}) as writer:
        label = RunLabel(title="baseline", note="less\nnoise", archived=True)
        write_label(writer.run_dir, label)
    assert main(["runs", "--save-dir", str(tmp_path)]) == 0
    assert "title: baseline; note: less noise; archived" in capsys.readouterr().out
    assert main(["runs", "--save-dir", str(tmp_path), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["title"], row["note"], row["archived"]) == (label.title, label.note, label.archived)
