import hashlib
import json
import random
from pathlib import Path

import pytest
import torch

from lab.base import MorphError
from lab.morph import MorphPlan, SwapOp, apply, rollback, verify
from lab.nn import EvolvableNetwork, recalibrate_batchnorm
from lab.space import DARTS, NB201, Edge, Genotype, sample


@pytest.fixture
def network():
    torch.manual_seed(0)
    text = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    return EvolvableNetwork(Genotype.from_arch_str(text), channels=4, layers=3, num_classes=5, in_channels=1)


@pytest.fixture
def x():
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("edge", NB201.edges, ids=str)
@pytest.mark.parametrize("primitive", NB201.primitives)
def test_every_swap_of_every_edge_moves_nothing_and_comes_back(network, x, edge, primitive, state, same):
    op = SwapOp((edge.cell, edge.target, edge.source), primitive)
    if network.genotype.primitives[NB201.edge_index(edge)] == primitive:
        with pytest.raises(MorphError, match="another primitive than the edge has"):
            op.plan(network, x)
        return
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    genotype, before, expected = network.genotype, state(network, optimizer), network.eval()(x)
    network.train()
    plan = MorphPlan.from_json(op.plan(network, x).to_json())
    assert plan.max_difference == 0.0
    report = apply(plan, network, optimizer)
    assert network.genotype == genotype.replace(edge, primitive)
    assert torch.equal(network.eval()(x), expected)
    assert verify(report, x) == 0.0
    network.train()(x).sum().backward()
    optimizer.step()
    rollback(report)
    assert network.genotype == genotype
    for parameter in network.parameters():
        parameter.grad = None
    assert same(state(network, optimizer), before)


def test_the_new_primitive_takes_over(network, x):
    edge = Edge("cell", 2, 0)
    apply(SwapOp(("cell", 2, 0), "nor_conv_3x3").plan(network, x), network)
    recalibrate_batchnorm(network, [torch.randn(4, 1, 8, 8) for _ in range(10)])
    network.set_beta(1.0)
    before = network.eval()(x)
    network.finalize()
    assert torch.equal(network(x), before)
    assert not network.transitions
    built = EvolvableNetwork(network.genotype, channels=4, layers=3, num_classes=5, in_channels=1).eval()
    built.load_state_dict(network.state_dict())
    assert torch.equal(built(x), before)
    assert network.genotype.primitives[NB201.edge_index(edge)] == "nor_conv_3x3"


@pytest.mark.parametrize(
    ("edge", "primitive", "match"),
    [
        (("cell", 9, 0), "none", "an edge and a primitive of nb201"),
        (("cell", 2, 0), "conv_7x7", "an edge and a primitive of nb201"),
    ],
)
def test_what_the_space_does_not_have_is_refused(network, x, edge, primitive, match):
    with pytest.raises(MorphError, match=match):
        SwapOp(edge, primitive).plan(network, x)


def test_an_edge_under_hand_over_is_refused(network, x):
    apply(SwapOp(("cell", 2, 0), "nor_conv_3x3").plan(network, x), network)
    with pytest.raises(MorphError, match="not in transition"):
        SwapOp(("cell", 2, 0), "none").plan(network, x)


def test_other_networks_are_refused(specimen, images):
    with pytest.raises(MorphError, match="an EvolvableNetwork, got SmallCNN"):
        SwapOp(("cell", 2, 0), "none").plan(specimen, images)


def test_random_cells_take_random_swaps(x):
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        torch.manual_seed(0)
        seed = int(torch.randint(1000, (1,), generator=generator))
        network = EvolvableNetwork(
            sample(NB201, random.Random(seed)), channels=4, layers=3, num_classes=5, in_channels=1
        )
        edge = NB201.edges[seed % 6]
        old = network.genotype.primitives[seed % 6]
        new = next(name for name in NB201.primitives if name != old)
        assert SwapOp((edge.cell, edge.target, edge.source), new).plan(network, x).max_difference == 0.0


@pytest.mark.parametrize("cell", ["normal", "reduce"])
def test_a_swap_in_a_darts_cell_moves_nothing_and_comes_back(cell, x, state, same):
    torch.manual_seed(0)
    genotype = sample(DARTS, random.Random(2))
    network = EvolvableNetwork(genotype, channels=4, layers=4, num_classes=5, in_channels=1)
    row = next(row for row in genotype.rows if DARTS.edges[row].cell == cell)
    edge, primitive = DARTS.edges[row], next(p for p in DARTS.choosable if p != genotype.primitives[row])
    before, expected = state(network, None), network.eval()(x)
    report = apply(MorphPlan.from_json(SwapOp(tuple(edge), primitive).plan(network, x).to_json()), network)
    assert network.genotype == genotype.replace(edge, primitive)
    assert list(network.transitions) == [edge]
    assert sum("InterpolatedOp" in type(module).__name__ for module in network.modules()) == 2, "two cells of each type"
    assert torch.equal(network.eval()(x), expected)
    rollback(report)
    assert same(state(network, None), before)
    absent = next(edge for row, edge in enumerate(DARTS.edges) if row not in genotype.rows)
    with pytest.raises(MorphError, match="an edge and a primitive of darts"):
        SwapOp(tuple(absent), "skip_connect").plan(network, x)
    with pytest.raises(MorphError, match="an edge and a primitive of darts"):
        SwapOp(tuple(edge), "none").plan(network, x)


def test_a_plan_that_an_earlier_version_wrote_makes_the_same_change(network, x):
    stored = json.loads((Path(__file__).parent / "stored" / "swap.json").read_text())
    expected = network.eval()(x)
    apply(MorphPlan.from_json(stored["plan"]), network)
    assert torch.equal(network(x), expected)
    new = [parameter for name, parameter in network.named_parameters() if ".new." in name]
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in new)).hexdigest()
    assert digest == stored["new_weights"]
