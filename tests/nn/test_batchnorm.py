import pytest
import torch
from torch import nn

from lab.base import DataError
from lab.nn import norm_layers, recalibrate_batchnorm


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))


def batches(count):
    return [torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(count)]


def test_only_the_chosen_layers_change_and_modes_come_back():
    net = make_net().train()
    net[2].eval()
    net[4].momentum = 0.3
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    recalibrate_batchnorm(net, batches(10), [net[1]])
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, kept[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert [module.training for module in net] == [True, True, False, True, True]
    assert (net[1].momentum, net[4].momentum) == (0.1, 0.3)


def test_too_few_batches_are_refused_and_nothing_is_lost():
    net = make_net()
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(DataError, match="at least 10 batches, got 3"):
        recalibrate_batchnorm(net, batches(3))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())
    assert net.training


def test_an_error_in_the_model_restores_the_statistics():
    net = make_net()
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(RuntimeError):
        recalibrate_batchnorm(net, [*batches(2), torch.randn(4, 5, 6, 6)])
    assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())


def test_norm_layers_without_running_statistics_are_not_listed():
    assert norm_layers(nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.LayerNorm(2))) == ()
