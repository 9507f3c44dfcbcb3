import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import SetDilation, SetGroups, SetHeads, SetKernel


def attending():
    return nn.Sequential(nn.TransformerEncoderLayer(24, 4, 32, batch_first=True), nn.Linear(24, 3))


class Standardized(nn.Conv2d):
    """A convolution with a forward of its own."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean(), bias)


def tied():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    net[1].weight = net[0].weight
    return net


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)))


def lone(*args, **options):
    return lambda: nn.Sequential(nn.Conv2d(4, *args, **options))


@pytest.mark.parametrize(
    ("make", "op", "match"),
    [
        (lone(6, 3), SetKernel("1", 5), "a name from named_modules"),
        (lone(6, 3), SetKernel("0", 3), r"another kernel size than 0 has, got \(3, 3\)"),
        (lone(6, 3), SetKernel("0", 4), "an odd kernel size, or 2 of them, got 4"),
        (lone(6, 3), SetKernel("0", (5, 5, 5)), "an odd kernel size, or 2 of them"),
        (lone(6, 3), SetKernel("0", -3), "an odd kernel size"),
        (lone(6, 3), SetKernel("0", 5.0), "an odd kernel size"),
        (lone(6, 3), SetKernel("0", True), "an odd kernel size"),
        (lone(6, 4), SetKernel("0", 5), "a kernel that has a middle, got size"),
        (lone(6, 3), SetKernel("0", 1), r"a padding that keeps the output size of 0, got padding \(0, 0\)"),
        (lone(6, 3, padding=1, padding_mode="reflect"), SetKernel("0", 5), "with padding of zeros, got .*reflect"),
        (lone(6, 1), SetDilation("0", 2), "that moves taps of 0, .*Nothing would change"),
        (lone(6, 3, dilation=2), SetDilation("0", 2), "that moves taps of 0"),
        (lone(6, 3, dilation=2), SetDilation("0", 1), "a padding that keeps the output size"),
        (lone(6, 2), SetDilation("0", 2), r"a padding that keeps .*have to be \(0.5, 0.5\)"),
        (lone(6, 3), SetDilation("0", 0), "a positive dilation, or 2 of them, got 0"),
        (lone(6, 3, groups=2), SetGroups("0", 2), "another number of groups than 0 has, got 2"),
        (lone(6, 3), SetGroups("0", 3), "a number of groups that divides 4 and 6, got 3"),
        (lone(6, 3), SetGroups("0", 0), "a number of groups that divides 4 and 6, got 0"),
        (lambda: nn.Sequential(nn.Linear(8, 8)), SetKernel("0", 3), "torch's own forward, got Linear 0"),
        (lambda: nn.Sequential(Standardized(4, 6, 3)), SetKernel("0", 5), "torch's own forward, got Standardized 0"),
        (tied, SetKernel("0", 5), "a weight that only 0 has, got one shared by 0, 1"),
        (normed, SetGroups("0", 2), "a weight that is a parameter, got 0, whose weight is computed"),
        (attending, SetHeads("0", 5), "a number of heads that divides 24, got 5"),
        (attending, SetHeads("0", 4), "another number of heads than 0.self_attn has, got 4"),
        (attending, SetHeads("1", 2), "one nn.MultiheadAttention, found none in Linear 1"),
        (
            lambda: nn.Sequential(nn.ModuleList([attending(), attending()])),
            SetHeads("0", 2),
            "one nn.MultiheadAttention, got 0.0.0.self_attn, 0.1.0.self_attn",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, op, match, state, same):
    net = make()
    x = torch.randn(4, 4, 9, 8)
    before = state(net)
    with pytest.raises(MorphError, match=match):
        op.plan(net, x)
    assert same(state(net), before)
