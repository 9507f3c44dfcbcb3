"""The small network in every width and depth: `small_cnn` is one of them."""

import random

import pytest
import torch

from lab.base import ConfigError
from lab.nn import sized_cnn, small_cnn
from lab.space import NB201, SIZES, Genotype, sample

USUAL = Genotype(SIZES, ("32x1", "64x1", "128x1"))


def test_the_usual_sizes_are_small_cnn():
    one, two = sized_cnn(USUAL, 4, 1, 8), small_cnn(4, 8, 1)
    shapes = [tuple(parameter.shape) for parameter in one.parameters()]
    assert shapes == [tuple(parameter.shape) for parameter in two.parameters()]
    two.load_state_dict(dict(zip(two.state_dict(), one.state_dict().values(), strict=True)))
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(one.eval()(x), two.eval()(x))


def test_every_size_gives_logits_of_its_widths_and_depths():
    rng = random.Random(0)
    for _ in range(5):
        genotype = sample(SIZES, rng)
        net = sized_cnn(genotype, 3, 2, 12)
        assert net(torch.randn(2, 2, 12, 12)).shape == (2, 3)
        widths = [layer.out_channels for layer in net.features if isinstance(layer, torch.nn.Conv2d)]
        wanted = [int(text.split("x")[0]) for text in genotype.primitives for _ in range(int(text.split("x")[1]))]
        assert widths == wanted


def test_a_cell_is_no_size():
    with pytest.raises(ConfigError, match="space sizes"):
        sized_cnn(Genotype(NB201, ("skip_connect",) * 6))
    with pytest.raises(ConfigError, match="size >= 4"):
        sized_cnn(USUAL, size=3)
