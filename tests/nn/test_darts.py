from dataclasses import replace

import pytest
import torch

from lab.base import ConfigError
from lab.nn import EvolvableNetwork, FactorizedReduce, Sample, SuperNet, make_primitive
from lab.space import ABSENT, DARTS, NB201, Space, parse_genotype

# The cell that its authors found on CIFAR-10, second-order approximation.
PUBLISHED = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_network_has_the_published_number_of_parameters():
    network = EvolvableNetwork(parse_genotype(PUBLISHED), channels=36, layers=20, num_classes=10)
    assert count(network) == 3_349_342


def test_the_supernet_of_the_published_primitives_has_the_published_parameter_count():
    eight = tuple(name for name in DARTS.primitives if name not in ("sep_conv_7x7", "conv_7x1_1x7"))
    supernet = SuperNet(replace(DARTS, primitives=eight), 16, 8, 10)
    norms = [module for module in supernet.backbone.cells.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    # Theirs searches without the affine parameters of the cells' BatchNorm layers.
    assert count(supernet) - sum(count(norm) for norm in norms) == 1_930_618


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 4), (1, 1)])
@pytest.mark.parametrize("name", [*DARTS.primitives, ABSENT])
def test_every_primitive_gives_the_size_that_its_stride_says(name, size, stride):
    module = make_primitive(name, 6, stride, DARTS).eval()
    x = torch.randn(2, 6, *size)
    height, width = ((extent + stride - 1) // stride for extent in size)
    assert module(x).shape == (2, 6, height, width)


def test_none_and_an_edge_that_is_not_taken_give_zero():
    x = torch.randn(2, 6, 5, 5)
    for name in ("none", ABSENT):
        assert make_primitive(name, 6, 2, DARTS)(x).abs().sum() == 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("avg_pool_3x3", 0),
        ("max_pool_3x3", 0),
        ("sep_conv_3x3", 2 * (9 * 6 + 36 + 12)),
        ("sep_conv_5x5", 2 * (25 * 6 + 36 + 12)),
        ("sep_conv_7x7", 2 * (49 * 6 + 36 + 12)),
        ("dil_conv_3x3", 9 * 6 + 36 + 12),
        ("dil_conv_5x5", 25 * 6 + 36 + 12),
        ("conv_7x1_1x7", 2 * 7 * 36 + 12),
    ],
)
def test_primitives_have_the_weights_of_their_definition(name, parameters):
    assert count(make_primitive(name, 6, 1, DARTS)) == parameters
    assert count(make_primitive(name, 6, 2, DARTS)) == parameters


def test_a_dilated_convolution_reads_every_other_pixel():
    module = make_primitive("dil_conv_3x3", 2, 1, DARTS).eval()
    x = torch.ones(1, 2, 9, 9, requires_grad=True)
    module(x)[0, 0, 4, 4].backward()
    rows, columns = x.grad[0].abs().sum(0).nonzero(as_tuple=True)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(r, c) for r in (2, 4, 6) for c in (2, 4, 6)]


@pytest.mark.parametrize("size", [8, 7])
def test_the_skip_of_stride_2_reads_two_diagonals_one_pixel_apart(size):
    module = FactorizedReduce(2, 4).eval()
    x = torch.ones(1, 2, size, size, requires_grad=True)
    module(x)[0, 0].sum().backward()
    first = x.grad[0, 0].clone()
    x.grad = None
    module(x)[0, 3].sum().backward()
    even, odd = torch.zeros(size, size), torch.zeros(size, size)
    even[::2, ::2], odd[1::2, 1::2] = 1.0, 1.0
    assert torch.equal((first != 0).float(), even)
    assert torch.equal((x.grad[0, 0] != 0).float(), odd)


def test_cells_reduce_at_a_third_and_at_two_thirds():
    network = EvolvableNetwork(parse_genotype(PUBLISHED), channels=4, layers=8, num_classes=5)
    kinds = [network.backbone.cell(number).kind for number in range(8)]
    assert [number for number, kind in enumerate(kinds) if kind == "reduce"] == [2, 5]
    sizes = []
    for number in range(8):
        network.backbone.cell(number).register_forward_hook(lambda m, i, out: sizes.append(tuple(out.shape[1:])))
    network(torch.randn(2, 3, 16, 16))
    assert sizes == [(16, 16, 16)] * 2 + [(32, 8, 8)] * 3 + [(64, 4, 4)] * 3


@pytest.mark.parametrize("layers", [3, 4, 6])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (28, 28)])
def test_supernets_run_on_any_size(layers, size):
    net = SuperNet(DARTS, channels=2, layers=layers, num_classes=3, in_channels=1)
    assert net(torch.randn(2, 1, *size), Sample.of(parse_genotype(PUBLISHED))).shape == (2, 3)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ConfigError, match=r"layers >= 3"):
        SuperNet(DARTS, 4, 2, 10)
    with pytest.raises(ConfigError, match="space to be one of nb201, nb125, darts"):
        SuperNet(Space(name="other", primitives=(), edges=(), nodes=1, outputs=()), 4, 3, 10)
    with pytest.raises(ConfigError, match="a network of three stages"):
        SuperNet(DARTS, 4, 3, 10).add_cell(0)
    with pytest.raises(ConfigError, match="a stride among 1 for space nb201"):
        make_primitive("skip_connect", 4, 2, NB201)
    with pytest.raises(ConfigError, match="primitive to be one of"):
        make_primitive(ABSENT, 4, 1, NB201)
