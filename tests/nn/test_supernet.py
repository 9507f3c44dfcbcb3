from random import Random

import pytest
import torch

from lab.base import ConfigError
from lab.nn import EvolvableNetwork, Sample, SuperNet
from lab.space import NB201, Genotype, sample


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return SuperNet(NB201, channels=4, layers=3, num_classes=5, in_channels=2)


def soft(genotype):
    return torch.nn.functional.one_hot(torch.tensor(genotype.indices), len(NB201.primitives)).float()


@pytest.mark.parametrize("seed", range(4))
def test_hard_sample_equals_the_one_hot_mixture(supernet, seed):
    genotype = sample(NB201, Random(seed))
    x = torch.randn(3, 2, 9, 7)
    supernet.eval()
    hard = supernet(x, Sample.of(genotype))
    torch.testing.assert_close(hard, supernet(x, Sample(mixture_EK=soft(genotype))), rtol=1e-5, atol=1e-6)


def test_hard_sample_runs_only_the_chosen_primitives(supernet):
    genotype = sample(NB201, Random(1))
    ran = []
    for cell in range(3):
        for row in range(6):
            for name, module in supernet.edge(cell, row).primitives.items():
                module.register_forward_hook(lambda *_, key=(cell, row, name): ran.append(key))
    supernet(torch.randn(2, 2, 8, 8), Sample.of(genotype)).sum().backward()
    assert sorted(ran) == sorted((cell, row, genotype.primitives[row]) for cell in range(3) for row in range(6))
    for cell in range(3):
        for row in range(6):
            for name, module in supernet.edge(cell, row).primitives.items():
                for parameter in module.parameters():
                    assert name == genotype.primitives[row] or parameter.grad is None


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
