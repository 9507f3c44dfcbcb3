from random import Random

import pytest
import torch

from lab.asose import TOLERANCE, LiveNetwork
from lab.asose import live_network as live
from lab.base import CheckpointError, TrainingError
from lab.nn import SuperNet
from lab.space import NB201, Genotype, mutate, sample
from lab.state import clone_state, state_digest


def make_live(channels=4):
    torch.manual_seed(0)
    net = SuperNet(NB201, channels=channels, layers=2, num_classes=5, in_channels=2)
    return LiveNetwork(net, lr=0.1, momentum=0.9, weight_decay=1e-4)


def batches(count=10):
    return (torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(count))


PROBE = torch.randn(8, 2, 8, 8, generator=torch.Generator().manual_seed(77))


def train(part, steps=3):
    for x in batches(steps):
        part.optimizer.zero_grad()
        part.child.train()(x).square().mean().backward()
        part.optimizer.step()


def test_taking_a_child_measures_that_it_is_the_supernets_path():
    part = make_live()
    assert part.extract(sample(NB201, Random(0)), batches(), PROBE) <= TOLERANCE
    assert part.child is not None


def test_a_mutation_is_measured_and_below_the_tolerance():
    part = make_live()
    part.extract(sample(NB201, Random(0)), batches(), PROBE)
    train(part)
    target = mutate(part.child.genotype, 0.5, "random", Random(1))
    assert part.mutate(target, batches(), PROBE) <= TOLERANCE
    assert part.child.genotype == target


def test_a_mutation_that_would_move_the_output_is_refused_and_undone(monkeypatch):
    part = make_live()
    part.extract(Genotype(NB201, ("nor_conv_3x3",) * 6), batches(), PROBE)
    train(part)
    before = state_digest(part.state_dict())

    def careless(model, inputs, layers=None):
        with torch.no_grad():
            model.backbone.stem_norm.running_mean.add_(1.0)

    monkeypatch.setattr(live, "recalibrate_batchnorm", careless)
    with pytest.raises(TrainingError, match="changes the output by at most"):
        part.mutate(mutate(part.child.genotype, 0.5, "random", Random(1)), batches(), PROBE)
    assert state_digest(part.state_dict()) == before


def test_mutating_without_a_child_is_refused():
    with pytest.raises(TrainingError, match="a live network"):
        make_live().mutate(sample(NB201, Random(0)), batches(), PROBE)


def test_restoring_gives_every_bit_back_and_keeps_the_parameter_objects():
    part = make_live()
    part.extract(Genotype(NB201, ("nor_conv_3x3",) * 6), batches(), PROBE)
    train(part)
    kept = clone_state(part.state_dict())
    objects = [id(parameter) for parameter in part.supernet.parameters()]
    part.mutate(mutate(part.child.genotype, 0.5, "random", Random(1)), batches(), PROBE)
    part.child.set_beta(0.4)
    train(part)
    assert state_digest(part.state_dict()) != state_digest(kept)
    part.load_state_dict(clone_state(kept))
    assert state_digest(part.state_dict()) == state_digest(kept)
    assert [id(parameter) for parameter in part.supernet.parameters()] == objects
    owned = {id(parameter) for parameter in part.supernet.parameters()}
    assert all(id(parameter) in owned for parameter in part.child.parameters())
    held = {id(parameter) for group in part.optimizer.param_groups for parameter in group["params"]}
    assert held == owned


def test_what_did_not_run_is_not_stepped():
    part = make_live()
    part.extract(Genotype(NB201, ("nor_conv_1x1",) * 6), batches(), PROBE)
    idle = part.supernet.edge(0, 0).primitives["nor_conv_3x3"].conv.weight
    before = idle.detach().clone()
    train(part, steps=5)
    assert torch.equal(idle, before)
    assert idle not in part.optimizer.state


def test_a_state_of_another_architecture_is_refused_untouched():
    part = make_live()
    before = state_digest(part.state_dict())
    with pytest.raises(CheckpointError, match="a checkpoint of this architecture"):
        part.load_state_dict(make_live(channels=8).state_dict())
    assert state_digest(part.state_dict()) == before
