"""A run that has finished is left as it is; --extend goes on from its end."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch

from lab.base import CheckpointError, ConfigError, StoreError
from lab.checkpoint import list_checkpoints, load_checkpoint
from lab.cli.main import main
from lab.datasets import DataConfig
from lab.runs import Run, RunConfig, RunReport, find_checkpoint, saved_config
from lab.store import RunReader

RECIPES = {
    "aso-se": {"search": {"total_cycles": 1}},
    "fixed": {"epochs": 2},
    "agent": {"epochs": 2, "evolve_from": 1, "evolve_every": 1, "evolve_actions": 1, "probe_steps": 2},
    "multitask": {"epochs": 2, "batch_size": 256, "data": DataConfig(name="multitask")},
}


def contents(folder):
    """Digest of every file of a run; looking at a database may leave an empty log beside it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".db-wal", ".db-shm")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def resume(folder, **fields):
    path = find_checkpoint(str(folder), folder.parent)
    return Run(saved_config(path), save_dir=folder.parent, resume=path, **fields)


@pytest.fixture(scope="module")
def ended(make_config, tmp_path_factory):
    """The report of a recipe's run and a copy of its folder, made when it is first asked for."""

    @cache
    def run(recipe):
        folder = tmp_path_factory.mktemp(recipe)
        report = Run(make_config(recipe=recipe, **RECIPES[recipe]), save_dir=folder, name="a").execute()
        shutil.copytree(folder / "a", folder.with_name(f"{folder.name}-kept"))
        return report, folder.with_name(f"{folder.name}-kept")

    return run


@pytest.fixture
def finished(ended, request):
    """The report of a run and its folder, as both were at its end: at its own path, which the report names."""
    report, kept = ended(getattr(request, "param", "fixed"))
    folder = Path(report.run_dir)
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    return report, folder


@pytest.mark.parametrize("finished", RECIPES, indirect=True)
def test_a_finished_run_that_is_resumed_stays_as_it_is(finished):
    report, folder = finished
    before = contents(folder)
    run = resume(folder)
    run.parts.data.test = lambda: pytest.fail("the test split was read again")
    assert run.execute() == report
    assert contents(folder) == before


@pytest.mark.parametrize("finished", ["aso-se", "fixed"], indirect=True)
def test_a_run_that_was_cut_off_before_its_report_ends_with_the_same(finished):
    report, folder = finished
    before = RunReader(folder).scalars()
    events = [(e.step, e.kind, e.payload) for e in RunReader(folder).events(kinds=("phase", "genotype")).events]
    (folder / "report.json").unlink()
    again = resume(folder).execute()
    assert (again.digest, again.test_loss, again.epochs) == (report.digest, report.test_loss, report.epochs)
    after = RunReader(folder).scalars()
    assert (after.step, after.name, after.value) == (before.step, before.name, before.value)
    assert [(e.step, e.kind, e.payload) for e in RunReader(folder).events(kinds=("phase", "genotype")).events] == events


def test_the_settings_come_without_the_tensors_which_must_be_whole(finished, monkeypatch):
    _, folder = finished
    path = find_checkpoint(str(folder), folder.parent)
    stored = load_checkpoint(path).base["config"]
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the tensors were read"))
    assert saved_config(path) == RunConfig.from_json(stored)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="a damaged or changed file"):
        saved_config(path)


class Stop:
    """Ends the run at the first step of `epoch`."""

    def __init__(self, epoch):
        self.epoch, self.loop = epoch, None

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) == (self.epoch, 1):
            self.loop.interrupt()

    def on_text(self, text):
        pass


@pytest.mark.parametrize(
    "finished",
    [pytest.param(name, marks=pytest.mark.large if name == "multitask" else ()) for name in RECIPES],
    indirect=True,
)
def test_an_extended_run_goes_on_and_is_resumed_to_the_same_bits(make_config, finished, tmp_path, monkeypatch):
    report, folder = finished
    rates = RunReader(folder).scalars(names=("lr",)).value
    longer = resume(folder, extend=3).execute()
    assert (longer.state, longer.epochs) == ("finished", report.epochs + 3)
    assert longer.history[: report.epochs] == report.history
    assert longer.digest != report.digest
    reader = RunReader(folder)
    assert reader.config()["extended_to"] == report.epochs + 3
    rows = reader.scalars(names=("lr",))
    new = [value for step, value in zip(rows.step, rows.value, strict=True) if step >= report.steps]
    assert new
    assert max(new) <= max(rates[-1], make_config().search.arch_lr)
    assert "Extended" in {event.payload["title"] for event in reader.events(kinds=("alert",)).events}
    observer, make_loop = Stop(report.epochs + 1), Run._make_loop

    def kept(run, *told):
        observer.loop = make_loop(run, *told)
        return observer.loop

    monkeypatch.setattr(Run, "_make_loop", kept)
    config = make_config(recipe=report.recipe, **RECIPES[report.recipe])
    Run(config, save_dir=tmp_path, name="b").execute()
    assert resume(tmp_path / "b", extend=3, observer=observer).execute().state == "stopped"
    again = resume(tmp_path / "b").execute()
    assert (again.epochs, again.digest, again.test_loss) == (longer.epochs, longer.digest, longer.test_loss)


def test_only_the_end_of_a_finished_run_is_extended(make_config, finished, tmp_path):
    report, folder = finished
    early = next(file.path for file in list_checkpoints(folder / "checkpoints") if file.step < report.steps)
    with pytest.raises(ConfigError, match="the end of a finished run"):
        Run(saved_config(early), save_dir=tmp_path, resume=early, extend=2)
    with pytest.raises(ConfigError, match="extend >= 1"):
        resume(folder, extend=0)
    with pytest.raises(ConfigError, match="together with resume"):
        Run(make_config(), save_dir=tmp_path, extend=2)
    (folder / "report.json").unlink()
    with pytest.raises(ConfigError, match="has not finished"):
        resume(folder, extend=2)


@pytest.mark.parametrize("text", ["", "{}", "[" * 200_000, '{"unknown": 1}', "\xff"])
def test_a_damaged_report_is_named(finished, text):
    _, folder = finished
    (folder / "report.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=r"report\.json"):
        RunReport.read(folder)
    with pytest.raises(StoreError, match="Remove it"):
        resume(folder)


def test_the_command_line_says_so_and_extends(finished, capsys):
    report, folder = finished
    again = ["train", "--resume", str(folder), "--save-dir", str(folder.parent)]
    assert main(again) == 0
    assert "--extend EPOCHS" in capsys.readouterr().out
    assert main([*again, "--extend", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == report.epochs + 1
    assert Path(RunReport.read(folder).run_dir) == folder
