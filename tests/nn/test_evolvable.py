import copy
import pickle
from functools import cache
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.nn import EvolvableNetwork, Sample, SuperNet, estimate_statistics, norm_layers
from lab.space import NB201, Genotype, mutate, sample


@cache
def trained_supernet():
    torch.manual_seed(0)
    net = SuperNet(NB201, channels=4, layers=4, num_classes=5, in_channels=2)
    rng = Random(0)
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(8, 2, 8, 8), Sample.of(sample(NB201, rng)))
    return net


def make_supernet():
    return copy.deepcopy(trained_supernet())


def relative_difference(new, old):
    return ((new - old).abs().max() / old.abs().max()).item()


def inputs(seed=5, batch=6):
    return torch.randn(batch, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_child_equals_the_supernet_under_its_hard_sample(seed):
    supernet = make_supernet().eval()
    genotype = sample(NB201, Random(seed))
    child = EvolvableNetwork.from_supernet(supernet, genotype).eval()
    expected = supernet(inputs(), Sample.of(genotype))
    assert relative_difference(child(inputs()), expected) <= 1e-5


def test_child_holds_the_supernets_parameters_and_its_own_statistics():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, sample(NB201, Random(3)))
    owned = {id(parameter) for parameter in supernet.parameters()}
    assert all(id(parameter) in owned for parameter in child.parameters())
    theirs = {buffer.data_ptr() for buffer in supernet.buffers()}
    assert not any(buffer.data_ptr() in theirs for buffer in child.buffers())
    before = [buffer.clone() for buffer in supernet.buffers()]
    child.train()(inputs())
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.buffers(), strict=True))


@given(st.integers(0, 10_000), st.floats(0.1, 1.0))
@settings(max_examples=15, deadline=None)
def test_mutation_of_the_live_child_does_not_change_one_bit(seed, strength):
    supernet = make_supernet()
    rng = Random(seed)
    child = EvolvableNetwork.from_supernet(supernet, sample(NB201, rng)).eval()
    before = child(inputs())
    target = mutate(child.genotype, strength, "random", rng)
    child.mutate(target, supernet)
    assert torch.equal(child(inputs()), before)
    assert child.genotype == target
    assert len(child.blends) > 0


def test_after_the_hand_over_the_child_is_the_child_of_the_target():
    supernet = make_supernet()
    rng = Random(4)
    child = EvolvableNetwork.from_supernet(supernet, sample(NB201, rng)).eval()
    start = child(inputs())
    target = mutate(child.genotype, 0.5, "random", rng)
    layers = child.mutate(target, supernet)
    estimate_statistics(child, (inputs(seed) for seed in range(12)), layers)
    assert torch.equal(child(inputs()), start), "statistics of the new primitives changed the output at beta 0"
    with pytest.raises(ConfigError, match="beta = 1"):
        child.settle()
    child.set_beta(0.5)
    assert not torch.equal(child(inputs()), start)
    child.set_beta(1.0)
    full = child(inputs())
    child.settle()
    assert torch.equal(child(inputs()), full)
    assert child.blends == {}
    fresh = EvolvableNetwork.from_supernet(supernet, target).eval()
    fresh.load_state_dict(child.state_dict())
    assert relative_difference(fresh(inputs()), full) <= 1e-5
    owned = {id(parameter) for parameter in supernet.parameters()}
    assert all(id(parameter) in owned for parameter in child.parameters())


def test_naive_swap_of_a_primitive_does_change_the_output():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_3x3",) * 6)).eval()
    swapped = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_1x1",) * 6)).eval()
    assert relative_difference(swapped(inputs()), child(inputs())) > 0.01


def test_an_edge_under_hand_over_is_not_changed_again():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_3x3",) * 6))
    edge = NB201.edges[0]
    child.mutate(child.genotype.replace(edge, "skip_connect"), supernet)
    with pytest.raises(ConfigError, match="not under hand-over"):
        child.mutate(child.genotype.replace(edge, "none"), supernet)
    with pytest.raises(ConfigError, match="another genotype"):
        child.mutate(child.genotype, supernet)
    child.mutate(child.genotype.replace(NB201.edges[1], "none"), supernet)
    assert set(child.blends) == set(NB201.edges[:2])


def test_gradients_are_shared_out_by_beta():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_3x3",) * 6)).train()
    edge = NB201.edges[0]
    child.mutate(child.genotype.replace(edge, "nor_conv_1x1"), supernet)
    new = supernet.edge(0, 0).primitives["nor_conv_1x1"].conv.weight
    old = supernet.edge(0, 0).primitives["nor_conv_3x3"].conv.weight
    untouched = supernet.edge(0, 1).primitives["nor_conv_1x1"].conv.weight
    child(inputs()).square().sum().backward()
    assert new.grad.abs().sum() == 0
    assert old.grad.abs().sum() > 0
    assert untouched.grad is None
    child.zero_grad(set_to_none=True)
    child.set_beta(1.0)
    child(inputs()).square().sum().backward()
    assert new.grad.abs().sum() > 0
    assert old.grad.abs().sum() == 0


def test_blends_are_rebuilt_from_their_names():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_3x3",) * 6)).eval()
    child.mutate(child.genotype.replace(NB201.edges[2], "avg_pool_3x3"), supernet)
    child.set_beta(0.3)
    again = EvolvableNetwork.from_supernet(supernet, child.genotype, child.blends).eval()
    again.load_state_dict(child.state_dict())
    assert torch.equal(again(inputs()), child(inputs()))


def test_child_copies_pickles_and_moves_dtype():
    child = EvolvableNetwork.from_supernet(make_supernet(), sample(NB201, Random(1))).eval()
    expected = child(inputs())
    assert torch.equal(copy.deepcopy(child)(inputs()), expected)
    assert torch.equal(pickle.loads(pickle.dumps(child))(inputs()), expected)
    assert child.double()(inputs().double()).dtype == torch.float64


def test_child_statistics_are_the_plain_average_over_the_batches():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_3x3",) * 6))
    batches = [inputs(seed) for seed in range(10)]
    estimate_statistics(child, batches)
    stem = child.backbone.stem(torch.cat(batches))
    torch.testing.assert_close(child.backbone.stem_norm.running_mean, stem.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert all(int(layer.num_batches_tracked) == 10 for layer in norm_layers(child))
