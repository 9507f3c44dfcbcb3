"""What a checkpoint holds as done is in the store before it."""

import json
import signal
from functools import cache

import pytest

import lab.runs.run
import lab.store.flusher
from lab.base import TrainingError
from lab.checkpoint import list_checkpoints
from lab.runs import Run, find_checkpoint, saved_config
from lab.store import RunReader

KILLED = """
import json, os, signal, sys
import lab.runs.run as module
import lab.store.flusher
from lab.runs import Run, RunConfig

folder, at, config = sys.argv[1], int(sys.argv[2]), RunConfig.from_json(json.loads(sys.argv[3]))
lab.store.flusher.FLUSH_SECONDS = 1000.0
save, written = module.save_checkpoint, []

def dying(directory, checkpoint):
    written.append(save(directory, checkpoint))
    if len(written) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return written[-1]

module.save_checkpoint = dying
Run(config, save_dir=folder, name="killed").execute()
"""
PER_ATTEMPT = ("memory", "checkpoint")
"""Events about the process and its files, which differ from attempt to attempt."""


def rows(folder):
    """Every scalar but the memory's, and every event of the training."""
    reader = RunReader(folder)
    found = reader.scalars()
    scalars = zip(found.step, found.name, found.value, strict=True)
    events = [(e.step, e.kind, e.payload) for e in reader.events().events if e.kind not in PER_ATTEMPT]
    return sorted(row for row in scalars if not row[1].startswith("memory/")), events


def recipe_config(make_config, recipe):
    """A run of seconds of each recipe."""
    fields = {
        "aso-se": {"search": {"total_cycles": 2}},
        "fixed": {"epochs": 4},
        "agent": {"epochs": 4, "evolve_from": 1, "evolve_every": 1, "evolve_actions": 1, "probe_steps": 2},
        "multitask": {"epochs": 3, "batch_size": 256},
    }[recipe]
    if recipe == "multitask":
        from lab.datasets import DataConfig

        fields["data"] = DataConfig(name="multitask")
    return make_config(recipe=recipe, **fields)


@pytest.mark.parametrize("recipe", ["aso-se", "fixed", "agent", "multitask"])
def test_every_row_is_in_the_store_before_its_checkpoint(make_config, tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(lab.store.flusher, "FLUSH_SECONDS", 1000.0)
    save, known = lab.runs.run.save_checkpoint, []

    def watched(directory, checkpoint):
        found = RunReader(directory.parent).scalars(names=("loss",)).step
        known.append((checkpoint.step, len(found)))
        return save(directory, checkpoint)

    monkeypatch.setattr(lab.runs.run, "save_checkpoint", watched)
    Run(recipe_config(make_config, recipe), save_dir=tmp_path, name="a").execute()
    assert len(known) >= 3
    assert [steps for _, steps in known] == [step for step, _ in known]


@pytest.fixture(scope="module")
def whole_run(make_config, tmp_path_factory):
    """The run of a recipe that went through, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("whole")
    return cache(lambda recipe: Run(recipe_config(make_config, recipe), save_dir=folder, name=recipe).execute())


@pytest.mark.parametrize(("recipe", "at"), [("fixed", 3), ("fixed", 8), ("aso-se", 3), ("agent", 3)])
def test_a_run_that_dies_behind_a_checkpoint_loses_no_row(make_config, run_code, whole_run, tmp_path, recipe, at):
    config, whole = recipe_config(make_config, recipe), whole_run(recipe)
    status, output = run_code(KILLED, tmp_path, at, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "killed"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert rows(resumed.run_dir) == rows(whole.run_dir)


class Interrupt:
    """Ends the run at the first step of the third epoch, when that epoch has begun."""

    loop = None

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) == (1, batches):
            self.loop.interrupt()

    def on_text(self, text):
        pass


@pytest.mark.parametrize("recipe", ["aso-se", "fixed", "agent"])
def test_an_epoch_that_had_begun_when_the_run_was_stopped_begins_once(
    make_config, whole_run, tmp_path, monkeypatch, recipe
):
    config, whole = recipe_config(make_config, recipe), whole_run(recipe)
    observer, make_loop = Interrupt(), Run._make_loop

    def kept(run, *told):
        observer.loop = make_loop(run, *told)
        return observer.loop

    monkeypatch.setattr(Run, "_make_loop", kept)
    assert Run(config, save_dir=tmp_path, name="stopped", observer=observer).execute().state == "stopped"
    path = find_checkpoint(str(tmp_path / "stopped"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert rows(resumed.run_dir) == rows(whole.run_dir)


def test_no_checkpoint_counts_where_its_rows_cannot_be_written(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr("lab.store.RunWriter.flush", lambda self: False)
    with pytest.raises(TrainingError, match="rows"):
        Run(recipe_config(make_config, "fixed"), save_dir=tmp_path, name="a").execute()
    assert not list_checkpoints(tmp_path / "a" / "checkpoints")
    assert RunReader(tmp_path / "a").state() == "failed"
