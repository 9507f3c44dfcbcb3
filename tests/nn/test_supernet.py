from random import Random

import pytest
import torch

from lab.base import ConfigError
from lab.nn import EvolvableNetwork, Sample, SuperNet
from lab.space import NB201, SPACES, Genotype, sample

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


@pytest.fixture
def supernet():
    return make_supernet(NB201)


def make_supernet(space):
    torch.manual_seed(0)
    return SuperNet(space, channels=4, layers=3, num_classes=5, in_channels=2)


def soft(genotype):
    """One-hot rows; an edge that is not taken is all zeros."""
    rows = torch.zeros(len(genotype.space.edges), len(genotype.space.primitives))
    for row in genotype.rows:
        rows[row, genotype.indices[row]] = 1.0
    return rows


@every_space
@pytest.mark.parametrize("seed", range(4))
def test_hard_sample_equals_the_one_hot_mixture(space, seed):
    supernet, genotype = make_supernet(space), sample(space, Random(seed))
    x = torch.randn(3, 2, 9, 7)
    supernet.eval()
    hard = supernet(x, Sample.of(genotype))
    torch.testing.assert_close(hard, supernet(x, Sample(mixture_EK=soft(genotype))), rtol=1e-5, atol=1e-6)


@every_space
def test_hard_sample_runs_only_the_chosen_primitives(space):
    supernet, genotype = make_supernet(space), sample(space, Random(1))
    ran, expected, gradients = [], [], {}
    for cell in range(3):
        for row in supernet.backbone.cell(cell).edge_ids:
            if row in genotype.rows:
                expected.append((cell, row, genotype.primitives[row]))
            for name, module in supernet.edge(cell, row).primitives.items():
                module.register_forward_hook(lambda *_, key=(cell, row, name): ran.append(key))
                gradients[cell, row, name] = list(module.parameters())
    supernet(torch.randn(2, 2, 8, 8), Sample.of(genotype)).sum().backward()
    assert sorted(ran) == sorted(expected)
    for key, parameters in gradients.items():
        assert all((parameter.grad is not None) == (key in expected) for parameter in parameters)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_cells_are_split_over_three_stages(layers):
    net = SuperNet(NB201, channels=2, layers=layers, num_classes=3)
    assert sum(net.backbone.stage_lengths) == len(net.backbone.cells) == layers
    assert net(torch.randn(2, 3, 8, 8), Sample.of(sample(NB201, Random(0)))).shape == (2, 3)


def test_gradient_reaches_the_input_through_every_kind_of_edge_but_none(supernet):
    for name in NB201.primitives:
        x = torch.randn(2, 2, 8, 8, requires_grad=True)
        supernet(x, Sample.of(Genotype(NB201, (name,) * 6))).sum().backward()
        reached = x.grad is not None and bool(x.grad.abs().sum() > 0)
        assert reached == (name != "none")


def test_a_sample_of_another_space_is_refused(supernet):
    with pytest.raises(ConfigError, match="a sample with 6 edges"):
        supernet(torch.randn(2, 2, 8, 8), Sample(choices=(0, 0)))
    with pytest.raises(ConfigError, match="either choices or a mixture"):
        Sample()


def test_bad_sizes_are_refused():
    for field in ("channels", "layers", "num_classes", "in_channels"):
        sizes = {"channels": 4, "layers": 3, "num_classes": 5, "in_channels": 2, field: 0}
        with pytest.raises(ConfigError, match=field):
            SuperNet(NB201, **sizes)


def test_a_fixed_network_is_the_size_that_its_genotype_says():
    conv = EvolvableNetwork(Genotype(NB201, ("nor_conv_3x3",) * 6), channels=4, layers=3, num_classes=5)
    skip = EvolvableNetwork(Genotype(NB201, ("skip_connect",) * 6), channels=4, layers=3, num_classes=5)
    expected = sum(6 * (9 * width * width + 2 * width) for width in (4, 8, 16))
    sizes = [sum(p.numel() for p in net.parameters()) for net in (conv, skip)]
    assert sizes[0] - sizes[1] == expected
