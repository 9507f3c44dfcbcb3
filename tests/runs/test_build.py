"""What is done where there is no memory to create the networks; the shortage is injected, the rest is real."""

import dataclasses
import importlib

import pytest
import torch

from lab.base import TrainingError
from lab.nn import SuperNet
from lab.runs import Run, build, find_checkpoint, saved_config
from lab.store import RunReader

composition = importlib.import_module("lab.runs.build")


@pytest.fixture
def short_of_memory(monkeypatch):
    """Networks of more than `most` channels find no memory."""

    def make(most):
        class Large(SuperNet):
            def __init__(self, space, channels, *arguments):
                if channels > most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nmore text")
                super().__init__(space, channels, *arguments)

        monkeypatch.setattr(composition, "SuperNet", Large)

    return make


def test_the_run_stops_where_nothing_else_was_asked_for(make_config, short_of_memory):
    short_of_memory(3)
    with pytest.raises(
        TrainingError, match=r"memory for the networks on cpu \(--on-oom stop\), got CUDA out of memory"
    ):
        build(make_config())


def test_smaller_halves_the_channels_until_they_fit_and_says_so(make_config, short_of_memory, tmp_path):
    short_of_memory(3)
    run = Run(make_config(init_channels=8, on_oom="smaller", epochs=1), save_dir=tmp_path, name="short")
    assert run.config.init_channels == 2
    run.execute()
    events = RunReader(tmp_path / "short").events(kinds=("oom",)).events
    assert [event.payload["action"] for event in events] == ["smaller network", "smaller network"]
    assert "2 channels at first in place of 4: CUDA out of memory" in events[1].payload["text"]
    saved = saved_config(find_checkpoint(str(tmp_path / "short"), tmp_path))
    assert saved.init_channels == 2, "a resumed run would look for the memory again"


def test_smaller_ends_at_one_channel(make_config, short_of_memory):
    short_of_memory(0)
    with pytest.raises(TrainingError, match="--on-oom smaller"):
        build(make_config(on_oom="smaller"))


def test_there_is_no_cpu_to_go_to_from_the_cpu(make_config, short_of_memory):
    short_of_memory(0)
    with pytest.raises(TrainingError, match="--on-oom cpu"):
        build(make_config(on_oom="cpu"))


def test_another_device_falls_back_to_the_cpu_where_that_was_asked_for(make_config, monkeypatch):
    config = make_config(on_oom="cpu")
    moved, device, event = composition._make_room(config, torch.device("cuda:0"), "no memory")
    assert device == torch.device("cpu")
    assert moved.devices.device == "cpu"
    assert dataclasses.replace(moved, search=config.search) == config
    assert event.text == "the run takes the CPU in place of cuda:0: no memory"


def test_an_error_that_is_no_shortage_is_not_hidden(make_config, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(composition, "SuperNet", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        build(make_config(on_oom="smaller"))
