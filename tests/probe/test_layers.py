import math

import pytest
import torch
from torch import nn

from lab.probe import LayerProbe, layer_name
from lab.probe.layers import ENTRIES, MOST_LAYERS


@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("backbone.cells.0.edges.3.conv.weight", "backbone.cells.0"),
        ("backbone.stem.weight", "backbone.stem"),
        ("weight", "network"),
    ],
)
def test_a_layer_is_a_numbered_part_or_the_module_that_owns_the_parameters(parameter, layer):
    assert layer_name(parameter) == layer


def stepped(network, lr=0.1):
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    network(torch.ones(2, network[0].in_features)).square().sum().backward()
    probe = LayerProbe(network)
    kept = [each.detach().clone() for each in network.parameters()]
    optimizer.step()
    return probe.read(), kept


def test_norms_of_gradient_and_update_are_those_of_the_step():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    event, kept = stepped(network)
    assert event.layers == ["0", "2"]
    for number, (gradient, ratio) in enumerate(zip(event.gradient, event.ratio, strict=True)):
        own = list(network[2 * number].parameters())
        norm = math.sqrt(sum(float(each.grad.square().sum()) for each in own))
        size = math.sqrt(sum(float(each.square().sum()) for each in kept[2 * number : 2 * number + 2]))
        assert gradient == pytest.approx(norm, rel=1e-3)
        assert ratio == pytest.approx(0.1 * norm / size, rel=1e-3)


def test_a_large_tensor_is_judged_by_evenly_spaced_entries():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(200, 100, bias=False))
    probe = LayerProbe(network)
    assert len(probe._before[0]) <= ENTRIES < network[0].weight.numel()
    event, kept = stepped(network)
    whole = 0.1 * float(network[0].weight.grad.norm() / kept[0].norm())
    assert event.ratio[0] == pytest.approx(whole, rel=0.1)


def test_a_layer_without_a_gradient_has_none_and_a_step_without_any_tells_nothing():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert LayerProbe(network).read() is None
    probe = LayerProbe(network)
    network[0](torch.ones(1, 2)).sum().backward()
    event = probe.read()
    assert event.gradient[1] is event.ratio[1] is None
    assert event.gradient[0] > 0


def test_many_layers_are_told_as_runs_of_neighbours():
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(3 * MOST_LAYERS)))
    network(torch.ones(1, 1)).sum().backward()
    event = LayerProbe(network).read()
    assert len(event.layers) == MOST_LAYERS
    assert event.layers[0] == "0 to 2"


def test_a_gradient_that_is_no_number_is_told_as_one():
    network = nn.Sequential(nn.Linear(1, 1))
    (network(torch.ones(1, 1)).sum() * math.nan).backward()
    assert math.isnan(LayerProbe(network).read().gradient[0])
