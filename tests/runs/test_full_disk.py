"""A disk that is full fails a run with exit code 1, leaves nothing half written, and the run is resumed."""

import contextlib
import resource

import pytest
import torch

from lab.base import CheckpointError, TrainingError
from lab.checkpoint import Checkpoint, save_checkpoint
from lab.cli.main import main
from lab.runs import Run, find_checkpoint, saved_config
from lab.store import RunReader


@contextlib.contextmanager
def largest_file(size):
    """No file grows beyond `size` bytes: the error of a full disk, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 40_000])
def test_a_checkpoint_that_does_not_fit_leaves_nothing(tmp_path, size):
    checkpoint = Checkpoint(base={}, state={"a": torch.zeros(100_000)}, epoch=0, step=0, reason="epoch")
    with largest_file(size), pytest.raises(CheckpointError, match="a folder that can be written.*File too large"):
        save_checkpoint(tmp_path, checkpoint)
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_a_full_disk_fails_and_goes_on_when_there_is_room(make_config, tmp_path, monkeypatch):
    config = make_config(recipe="fixed", epochs=3)
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    inner, saved = Run._save, []

    def save(run, loop, writer, reason):
        saved.append(reason)
        with largest_file(2_000) if len(saved) == 3 else contextlib.nullcontext():
            inner(run, loop, writer, reason)

    monkeypatch.setattr(Run, "_save", save)
    with pytest.raises(TrainingError, match="and resume"):
        Run(config, save_dir=tmp_path, name="a").execute()
    assert RunReader(tmp_path / "a").state() == "failed"
    assert not list((tmp_path / "a").rglob("*.tmp"))
    path = find_checkpoint(str(tmp_path / "a"), tmp_path)
    assert Run(saved_config(path), save_dir=tmp_path, resume=path).execute().digest == whole.digest


def test_the_exit_code_of_a_full_disk_is_that_of_a_failed_run(tmp_path, monkeypatch, capsys):
    def full(*arguments, **fields):
        raise CheckpointError("a folder that can be written", "No space left on device", "free space")

    monkeypatch.setattr("lab.runs.run.save_checkpoint", full)
    words = [
        "train",
        "fixed",
        "--train-limit",
        "60",
        "--batch-size",
        "8",
        "--epochs",
        "1",
        "--checkpoint-frequency",
        "1",
    ]
    assert main([*words, "--init-channels", "2", "--layers", "1", "--save-dir", str(tmp_path)]) == 1
    assert "No space left" in capsys.readouterr().err
