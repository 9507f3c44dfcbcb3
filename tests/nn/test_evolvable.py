import copy
import os
import pickle
from functools import cache
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.nn import EvolvableNetwork, Sample, SuperNet, norm_layers, recalibrate_batchnorm
from lab.space import ABSENT, DARTS, NB201, SPACES, Edge, Edit, Genotype, mutate, sample

EXAMPLES = 10 if os.environ.get("LAB_LARGE") else 4
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


@cache
def trained_supernet(space):
    torch.manual_seed(0)
    net = SuperNet(space, channels=4, layers=4, num_classes=5, in_channels=2)
    rng = Random(0)
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(8, 2, 8, 8), Sample.of(sample(space, rng)))
    return net


def make_supernet(space=NB201):
    return copy.deepcopy(trained_supernet(space))


def relative_difference(new, old):
    return ((new - old).abs().max() / old.abs().max()).item()


def inputs(seed=5, batch=6):
    return torch.randn(batch, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


@every_space
@given(st.integers(0, 10_000))
@settings(max_examples=EXAMPLES, deadline=None)
def test_child_equals_the_supernet_under_its_hard_sample(space, seed):
    supernet = make_supernet(space).eval()
    genotype = sample(space, Random(seed))
    child = EvolvableNetwork.from_supernet(supernet, genotype).eval()
    expected = supernet(inputs(), Sample.of(genotype))
    assert relative_difference(child(inputs()), expected) <= 1e-5


@every_space
def test_child_holds_the_supernets_parameters_and_its_own_statistics(space):
    supernet = make_supernet(space)
    child = EvolvableNetwork.from_supernet(supernet, sample(space, Random(3)))
    owned = {id(parameter) for parameter in supernet.parameters()}
    assert all(id(parameter) in owned for parameter in child.parameters())
    theirs = {buffer.data_ptr() for buffer in supernet.buffers()}
    assert not any(buffer.data_ptr() in theirs for buffer in child.buffers())
    before = [buffer.clone() for buffer in supernet.buffers()]
    child.train()(inputs())
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.buffers(), strict=True))


@every_space
@given(st.integers(0, 10_000), st.floats(0.1, 1.0))
@settings(max_examples=EXAMPLES, deadline=None)
def test_mutation_of_the_live_child_does_not_change_one_bit(space, seed, strength):
    supernet = make_supernet(space)
    rng = Random(seed)
    child = EvolvableNetwork.from_supernet(supernet, sample(space, rng)).eval()
    before = child(inputs())
    target = mutate(child.genotype, strength, "random", rng)
    child.mutate(target, supernet)
    assert torch.equal(child(inputs()), before)
    assert child.genotype == target
    assert set(child.transitions) == {edit.edge for edit in sample(space, Random(seed)).diff(target)}


@every_space
def test_after_the_hand_over_the_child_is_the_child_of_the_target(space):
    supernet = make_supernet(space)
    rng = Random(4)
    child = EvolvableNetwork.from_supernet(supernet, sample(space, rng)).eval()
    start = child(inputs())
    target = mutate(child.genotype, 0.5, "random", rng)
    layers = child.mutate(target, supernet)
    recalibrate_batchnorm(child, (inputs(seed) for seed in range(12)), layers)
    assert torch.equal(child(inputs()), start), "statistics of the new primitives changed the output at beta 0"
    with pytest.raises(ConfigError, match="beta = 1"):
        child.finalize()
    child.set_beta(0.5)
    assert not torch.equal(child(inputs()), start)
    child.set_beta(1.0)
    full = child(inputs())
    child.finalize()
    assert torch.equal(child(inputs()), full)
    assert child.transitions == {}
    fresh = EvolvableNetwork.from_supernet(supernet, target).eval()
    fresh.load_state_dict(child.state_dict())
    assert relative_difference(fresh(inputs()), full) <= 1e-5
    alone = EvolvableNetwork(target, channels=4, layers=4, num_classes=5, in_channels=2).eval()
    alone.load_state_dict(child.state_dict())
    assert relative_difference(alone(inputs()), full) <= 1e-5
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
    with pytest.raises(ConfigError, match="not in transition"):
        child.mutate(child.genotype.replace(edge, "none"), supernet)
    with pytest.raises(ConfigError, match="another genotype"):
        child.mutate(child.genotype, supernet)
    child.mutate(child.genotype.replace(NB201.edges[1], "none"), supernet)
    assert set(child.transitions) == set(NB201.edges[:2])


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


@every_space
def test_blends_are_rebuilt_from_their_names(space):
    supernet = make_supernet(space)
    child = EvolvableNetwork.from_supernet(supernet, sample(space, Random(2))).eval()
    child.mutate(mutate(child.genotype, 0.4, "random", Random(2)), supernet)
    assert len(child.transitions) > 1 or space.name == "nb125"
    child.set_beta(0.3)
    again = EvolvableNetwork.from_supernet(supernet, child.genotype, child.transitions).eval()
    again.load_state_dict(child.state_dict())
    assert torch.equal(again(inputs()), child(inputs()))


@every_space
def test_child_copies_pickles_and_moves_dtype(space):
    child = EvolvableNetwork.from_supernet(make_supernet(space), sample(space, Random(1))).eval()
    expected = child(inputs())
    assert torch.equal(copy.deepcopy(child)(inputs()), expected)
    assert torch.equal(pickle.loads(pickle.dumps(child))(inputs()), expected)
    assert child.double()(inputs().double()).dtype == torch.float64


def test_child_statistics_are_the_plain_average_over_the_batches():
    supernet = make_supernet()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("nor_conv_3x3",) * 6))
    batches = [inputs(seed) for seed in range(10)]
    recalibrate_batchnorm(child, batches)
    stem = child.backbone.stem(torch.cat(batches))
    torch.testing.assert_close(child.backbone.stem_norm.running_mean, stem.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert all(int(layer.num_batches_tracked) == 10 for layer in norm_layers(child))


def darts_cell():
    """Node 3 of the normal cell reads nodes 0 and 1; every edge is a separable convolution."""
    taken = [(cell, target, source) for cell in ("normal", "reduce") for target in range(2, 6) for source in (0, 1)]
    return Genotype(DARTS, tuple("sep_conv_3x3" if tuple(edge) in taken else ABSENT for edge in DARTS.edges))


@pytest.mark.parametrize(("cell", "target"), [("normal", 3), ("reduce", 4)])
def test_a_node_takes_another_source_without_a_jump(cell, target):
    supernet = make_supernet(DARTS)
    child = EvolvableNetwork.from_supernet(supernet, darts_cell()).eval()
    start, leaving, coming = child(inputs()), Edge(cell, target, 1), Edge(cell, target, 2)
    edits = [Edit(leaving, "sep_conv_3x3", ABSENT), Edit(coming, ABSENT, "max_pool_3x3")]
    layers = child.mutate(child.genotype.edit(edits), supernet)
    assert len(layers) == 2, "the new primitive stands in two cells of its type"
    assert child.transitions == {leaving: "sep_conv_3x3", coming: ABSENT}
    recalibrate_batchnorm(child, (inputs(seed) for seed in range(12)), layers)
    assert torch.equal(child(inputs()), start)
    seen = []
    for beta in (0.25, 0.5, 1.0):
        child.set_beta(beta)
        seen.append(relative_difference(child(inputs()), start))
    assert 0 < seen[0] < seen[2]
    full = child(inputs())
    child.finalize()
    assert child.transitions == {}
    assert torch.equal(child(inputs()), full)
    kept = [name for name, _ in child.named_parameters()]
    alone = EvolvableNetwork.from_supernet(supernet, child.genotype)
    assert kept == [name for name, _ in alone.named_parameters()], "the edge that was left has no weights any more"


def test_half_way_a_node_is_the_mean_of_both_sources():
    supernet = make_supernet(DARTS)
    child = EvolvableNetwork.from_supernet(supernet, darts_cell()).eval()
    edits = [Edit(Edge("normal", 5, 0), "sep_conv_3x3", ABSENT), Edit(Edge("normal", 5, 4), ABSENT, "skip_connect")]
    cell = child.backbone.cell(0)
    states = [torch.randn(2, 4, 8, 8) for _ in range(2)]
    before = cell.run_edges(states, None)[5]
    child.mutate(child.genotype.edit(edits), supernet)
    child.set_beta(1.0)
    after = cell.run_edges(states, None)[5]
    child.set_beta(0.5)
    torch.testing.assert_close(cell.run_edges(states, None)[5], (before + after) / 2, rtol=1e-5, atol=1e-5)
    assert relative_difference(after, before) > 0.01


def test_a_blend_of_two_primitives_without_parameters_has_the_networks_dtype():
    supernet = make_supernet().double()
    child = EvolvableNetwork.from_supernet(supernet, Genotype(NB201, ("skip_connect",) * 6)).eval()
    child.mutate(child.genotype.replace(NB201.edges[0], "avg_pool_3x3"), supernet)
    assert child.backbone.edges(0)[0].beta.dtype == torch.float64
