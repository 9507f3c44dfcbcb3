from random import Random

import torch

from lab.nn import Sample, SuperNet
from lab.space import DARTS, NB201, sample

SKIPS = (1,) * 6


def make(space=NB201):
    torch.manual_seed(0)
    return SuperNet(space, channels=4, layers=3, num_classes=5, in_channels=2), torch.randn(6, 2, 8, 8)


def test_skip_dropout_changes_what_skips_give_in_train_mode_and_nothing_else():
    net, x = make()
    net.train()
    plain = net(x, Sample(choices=SKIPS))
    assert not torch.allclose(net(x, Sample(choices=SKIPS, skip_dropout=0.5)), plain)
    convolutions = Sample(choices=(3,) * 6)
    assert torch.equal(net(x, Sample(choices=(3,) * 6, skip_dropout=0.5)), net(x, convolutions))
    net.eval()
    assert torch.equal(net(x, Sample(choices=SKIPS, skip_dropout=0.5)), net(x, Sample(choices=SKIPS)))
    mixture = torch.full((6, 5), 0.2)
    net.train()
    torch.manual_seed(1)
    first = net(x, Sample(mixture_EK=mixture, skip_dropout=0.5))
    assert not torch.allclose(first, net(x, Sample(mixture_EK=mixture)))


def test_the_auxiliary_skip_is_added_to_every_edge_and_vanishes_with_its_share():
    net, x = make()
    net.eval()
    nothing = net(x, Sample(choices=(0,) * 6))
    with_skip = net(x, Sample(choices=(0,) * 6, auxiliary_skip=1.0))
    assert not torch.allclose(nothing, with_skip), "absent edges carry the auxiliary skip"
    assert torch.allclose(with_skip, net(x, Sample(choices=SKIPS)), atol=1e-6), "which is the skip itself"
    halves = net(x, Sample(choices=SKIPS, auxiliary_skip=0.5))
    assert not torch.allclose(halves, with_skip)
    assert torch.equal(net(x, Sample(choices=SKIPS, auxiliary_skip=0.0)), net(x, Sample(choices=SKIPS)))


def test_both_run_in_the_space_of_darts():
    net, x = make(DARTS)

    genotype = sample(DARTS, Random(0))

    out = net(x, Sample(choices=genotype.indices, skip_dropout=0.3, auxiliary_skip=0.7))
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, net(x, Sample.of(genotype)))
