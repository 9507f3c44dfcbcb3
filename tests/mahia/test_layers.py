import pytest
import torch
from torch import nn

from lab.base import ConfigError, DataError
from lab.mahia import DynamicLayerRouter, DynamicNeuroFabric, MetaController

D = 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def preferring(order, **options):
    """A controller whose gate gives every sample the layers in this order."""
    controller = MetaController(D, len(order), **options)
    with torch.no_grad():
        controller.gate.weight.zero_()
        for rank, layer in enumerate(order):
            controller.gate.bias[layer] = -float(rank)
    return controller


def test_importance_goes_to_the_layer_and_not_to_its_rank():
    controller = preferring([3, 1, 0, 2], k=2, decay=0.0)
    controller(torch.randn(6, D))
    share = 1 / (1 + torch.e**-1)
    assert controller.importance.tolist() == pytest.approx([0, 1 - share, 0, share], abs=1e-6)


def test_importance_is_a_running_mean_that_adds_up_to_1():
    controller = preferring([3, 1, 0, 2], k=1, decay=0.9)
    for _ in range(3):
        controller(torch.randn(6, D))
    assert controller.importance.tolist() == pytest.approx([0.25 * 0.9**3] * 3 + [1 - 0.75 * 0.9**3], abs=1e-6)


def test_a_layer_that_counted_too_much_is_held_back():
    shares = {}
    for balance in (0.0, 2.0):
        controller = preferring([0, 1, 2], k=1, balance=balance, decay=0.5)
        controller.gate.bias.data.mul_(0.1)
        taken = torch.stack([controller(torch.randn(6, D))[0] != 0 for _ in range(30)]).float().mean(0)
        shares[balance] = float(taken.max())
    assert shares[0.0] == 1
    assert shares[2.0] < 0.5


def test_a_gate_with_k_1_learns():
    router = DynamicLayerRouter(D, [nn.Linear(D, D) for _ in range(3)], k=1)
    router(torch.randn(6, D)).square().sum().backward()
    assert float(router.controller.gate.weight.grad.abs().max()) > 1e-3


def test_a_sure_sample_takes_one_block_and_an_unclear_one_several():
    fabric = DynamicNeuroFabric(D, 4, coverage=0.6)
    with torch.no_grad():
        fabric.controller.gate.weight.copy_(torch.tensor([[9.0, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4]))
        fabric.controller.gate.bias.zero_()
    weights = fabric.controller(torch.tensor([[2.0, 0, 0, 0], [0.0, 1, 1, 1]]))
    assert (weights != 0).sum(1).tolist() == [1, 3]


def test_each_layer_runs_once_on_its_own_samples_alone():
    seen = []

    class Listening(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    router = DynamicLayerRouter(D, [Listening() for _ in range(5)], k=2)
    with torch.no_grad():
        router.controller.gate.weight.mul_(20)
    router(torch.randn(12, D))
    assert len(seen) <= 5
    assert sum(seen) == 24
    assert max(seen) < 12


def test_samples_do_not_depend_on_their_neighbours():
    fabric, x = DynamicNeuroFabric(D).eval(), torch.randn(6, 5, D)
    assert torch.allclose(fabric(x)[2:3], fabric(x[2:3]), atol=1e-6)


def test_a_layer_that_changes_the_shape_is_named():
    router = DynamicLayerRouter(D, [nn.Linear(D, 3), nn.Linear(D, 3)])
    with pytest.raises(DataError, match=r"shape \(2, 4\) from layer 0, got \(2, 3\) of Linear"):
        router(torch.randn(2, D))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MetaController(D, 2, 3), "k >= 1 and <= 2, got k = 3"),
        (lambda: MetaController(D, 2, 1, coverage=0.5), "one of k and coverage, got k = 1, coverage = 0.5"),
        (lambda: MetaController(D, 2, None), "one of k and coverage, got k = None, coverage = None"),
        (lambda: DynamicNeuroFabric(D, coverage=0.0), "coverage > 0"),
        (lambda: DynamicLayerRouter(D, []), "at least one layer, found none"),
        (
            lambda: DynamicLayerRouter(D, [nn.Identity()], controller=MetaController(D, 2)),
            "a controller for 1 layers, got one for 2",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
