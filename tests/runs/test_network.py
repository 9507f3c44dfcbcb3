from dataclasses import replace

import pytest
import torch

from lab.base import CheckpointError
from lab.checkpoint import list_checkpoints, load_checkpoint
from lab.nn import eval_mode
from lab.runs import NetworkInput, Run, restore_network, under_hand_over
from lab.train import TrainingLoop


@pytest.fixture(scope="module")
def grown(make_config, tmp_path_factory):
    search = {"total_cycles": 3, "growth": "depth,width", "growth_factor": 1.5, "max_checkpoints": 99}
    config = make_config(search=search)
    run = Run(config, save_dir=tmp_path_factory.mktemp("network"), name="a")
    run.execute()
    return run


def checkpoints(run, reason):
    files = list_checkpoints(run.run_dir / "checkpoints")
    return [load_checkpoint(file.path) for file in files if file.reason == reason]


def test_the_network_of_the_last_checkpoint_is_the_one_that_the_run_ended_with(grown):
    (last,) = checkpoints(grown, "last")
    assert [step["kind"] for step in last.plans if step["kind"] != "finalize"] == ["depth", "width"]
    network = restore_network(last)
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    child = grown.parts.strategy.network
    with torch.no_grad(), eval_mode(child):
        assert torch.equal(network(x), child(x))
    assert not network.training
    assert under_hand_over(network) == ()


def test_restoring_leaves_the_random_stream_alone(grown):
    (last,) = checkpoints(grown, "last")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    restore_network(last)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_states_shape_normalisation_and_classes(grown):
    (last,) = checkpoints(grown, "last")
    stated = NetworkInput.of(last)
    streams = grown.parts.streams
    assert stated.shape == (1, 8, 8)
    assert stated.classes == streams.bundle.classes
    assert (stated.mean, stated.deviation) == (streams.normalisation.mean, streams.normalisation.deviation)
    without = replace(last, base={"config": last.base["config"]})
    with pytest.raises(CheckpointError, match="states its input"):
        restore_network(without)


def test_before_the_first_mutation_phase_there_is_no_network_and_the_error_says_so(grown):
    first = checkpoints(grown, "epoch")[0]
    assert first.epoch == 1
    with pytest.raises(CheckpointError, match=r"epoch 1, before the search took.*first mutation phase"):
        restore_network(first)


def test_a_hand_over_under_way_is_named(make_config, tmp_path, monkeypatch):
    seen = {}
    step = TrainingLoop._step

    def watched(self, *arguments):
        done = step(self, *arguments)
        child = self.strategy.network
        if self.epoch == self.epochs - 2 and not seen:
            seen["texts"] = under_hand_over(child)
            self.save("control")
        return done

    monkeypatch.setattr(TrainingLoop, "_step", watched)
    config = make_config(search={"total_cycles": 3, "growth": "depth"})
    run = Run(config, save_dir=tmp_path, name="a")
    run.execute()
    assert any(" -> " in text and "beta 0." in text for text in seen["texts"]), "the edges that mutate"
    assert any("the new backbone.cells.3 at beta 0." in text for text in seen["texts"]), "the cell that came by growth"
    (asked,) = checkpoints(run, "control")
    assert under_hand_over(restore_network(asked)) == seen["texts"], "a checkpoint keeps the mixture as it was"


def test_the_fixed_network_is_restored_as_well(make_config, tmp_path):
    run = Run(make_config(recipe="fixed", epochs=1), save_dir=tmp_path, name="a")
    run.execute()
    (last,) = checkpoints(run, "last")
    network = restore_network(last)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), eval_mode(run.parts.strategy.network):
        assert torch.equal(network(x), run.parts.strategy.network(x))
