"""Scores without training: answers worked out by hand, any module, nothing of the module changed."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from lab.base import ConfigError
from lab.explore import SCORES, flops, log_synflow, naswot, parameters, skip_length
from lab.nn import EvolvableNetwork
from lab.space import DARTS, NB201, Genotype, sample
from lab.state import rng_state


def linear(*rows, **kwargs):
    """A linear layer without bias that has these rows of weights."""
    weight = torch.tensor(rows, dtype=torch.float32)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, **kwargs)
    layer.weight.data = weight
    return layer


class FunctionalMLP(nn.Module):
    """ReLU and LayerNorm as functions, dropout, a buffer that the forward moves on."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, shift=None):
        self.calls += 1
        hidden = functional.layer_norm(self.one(x), (8,))
        hidden = torch.clamp(hidden, min=0) if shift is None else functional.relu(hidden + shift)
        return {"logits": self.two(self.drop(hidden)), "count": len(x)}


class Block(nn.Module):
    """A transformer block over token numbers, with batch second inside."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu")

    def forward(self, tokens_BT):
        return self.layer(self.embed(tokens_BT).transpose(0, 1)).mean(0)


MODULES = {
    "mlp": (FunctionalMLP, lambda: torch.randn(5, 6)),
    "mlp by tuple": (FunctionalMLP, lambda: (torch.randn(5, 6), torch.ones(5, 8))),
    "mlp by keywords": (FunctionalMLP, lambda: {"x": torch.randn(5, 6), "shift": torch.ones(5, 8)}),
    "transformer": (Block, lambda: torch.randint(11, (4, 7))),
    "resnet18": (lambda: resnet18(num_classes=10), lambda: torch.randn(4, 3, 32, 32)),
    "cell": (lambda: network("333133"), lambda: torch.randn(4, 3, 8, 8)),
}


def network(digits, channels=4):
    cell = Genotype.from_indices(NB201, map(int, digits))
    return EvolvableNetwork(cell, channels=channels, layers=3, num_classes=10)


@pytest.fixture(params=MODULES)
def case(request):
    make, example = MODULES[request.param]
    torch.manual_seed(0)
    return make(), example()


def test_log_synflow_of_two_layers_by_hand():
    # R = 2 * 3 with absolute weights; dR/dw is the other weight.
    model = nn.Sequential(linear([-2.0]), nn.ReLU(), linear([3.0]))
    expected = 2 * math.log(1 + 3) + 3 * math.log(1 + 2)
    assert log_synflow(model, torch.full((4, 1), -9.0)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(1), nn.LayerNorm(1), nn.GroupNorm(1, 1)])
def test_log_synflow_leaves_normalisation_out(norm):
    norm.weight.data.fill_(7.0)
    plain = nn.Sequential(linear([2.0]), nn.ReLU(), linear([3.0]))
    normed = nn.Sequential(plain[0], norm, plain[1], plain[2])
    assert log_synflow(normed, torch.ones(4, 1)) == log_synflow(plain, torch.ones(4, 1))


def test_naswot_by_hand_with_a_module_and_with_a_function():
    # Codes 10 and 11: two samples agree on one of two units.
    x = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    layer = linear([1.0, 0.0], [0.0, 1.0])

    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x).relu_()

    for model in (nn.Sequential(layer, nn.ReLU()), InPlace(), nn.Sequential(layer, nn.GELU())):
        assert naswot(model, x) == pytest.approx(math.log(2 * 2 - 1), rel=1e-12)


def test_naswot_of_samples_that_are_equal_is_minus_infinity():
    x = torch.randn(1, 3, 8, 8).expand(4, -1, -1, -1)
    assert naswot(network("333333"), x) == -math.inf


def test_naswot_counts_the_windows_of_a_sample_as_its_own():
    class Windows(nn.Module):
        def forward(self, x):
            return torch.relu(x.reshape(4, 1)).reshape(2, 2)

    x = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    assert naswot(Windows(), x) == pytest.approx(math.log(3), rel=1e-12)


def test_parameters_and_flops_by_hand():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2, bias=False))
    assert parameters(model) == 4 * 5 + 5 + 5 * 2
    assert flops(model, torch.randn(3, 4)) == 2 * (4 * 5 + 5 * 2)


@pytest.mark.parametrize(
    ("digits", "expected"), [("333133", 2.0), ("333313", 1.0), ("133133", 1.0), ("333333", 0.0), ("111111", 4 / 6)]
)
def test_skip_length_is_the_mean_of_nodes_passed_over(digits, expected):
    assert skip_length(Genotype.from_indices(NB201, map(int, digits))) == pytest.approx(expected)


def test_skip_length_of_darts_reads_the_edges_that_are_taken():
    cell = sample(DARTS, random.Random(0))
    skips = [DARTS.edges[row] for row in cell.rows if cell.primitives[row] == "skip_connect"]
    lengths = [edge.target - edge.source - 1 for edge in skips]
    assert skip_length(cell) == (sum(lengths) / len(lengths) if lengths else 0)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_of_any_module_is_finite_and_repeats_itself(case, name):
    model, example = case
    value = SCORES[name](model, example)
    assert math.isfinite(value)
    assert value > 0
    assert SCORES[name](model, example) == value


@pytest.mark.parametrize("name", SCORES)
def test_a_score_leaves_the_module_and_the_random_streams_as_they_were(case, name):
    model, example = case
    model.train()
    next(model.children()).eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    streams = rng_state()
    SCORES[name](model, example)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(bool((parameter.grad == 0.5).all()) for parameter in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    after = rng_state()
    assert torch.equal(after["torch"], streams["torch"])
    assert after["python"] == streams["python"]
    assert np.array_equal(after["numpy"][1].numpy(), streams["numpy"][1].numpy())


def test_capacity_scores_put_six_convolutions_above_absent_edges():
    x = torch.randn(4, 3, 8, 8)
    for name in ("log_synflow", "parameters", "flops"):
        values = [SCORES[name](network(6 * digit), x) for digit in "320"]
        assert values[0] > values[1] > values[2], name


@pytest.mark.parametrize("name", ["log_synflow", "naswot", "flops"])
def test_an_example_that_the_model_does_not_take_is_an_error_of_ours(name):
    with pytest.raises(ConfigError, match="an example that the model takes"):
        SCORES[name](nn.Linear(3, 2), torch.randn(4, 5))
    with pytest.raises(ConfigError, match="a tensor whose first dimension is the batch"):
        SCORES[name](nn.Linear(3, 2), 3)
    with pytest.raises(ConfigError, match=r"torch\.nn\.Module"):
        SCORES[name](torch.relu, torch.randn(4, 3))


def test_what_a_score_needs_is_said():
    with pytest.raises(ConfigError, match="ReLU-like activations"):
        naswot(nn.Linear(3, 2), torch.randn(4, 3))
    with pytest.raises(ConfigError, match="at least 2 samples"):
        naswot(nn.ReLU(), torch.randn(1, 3))
    with pytest.raises(ConfigError, match="depends on its parameters"):
        log_synflow(nn.ReLU(), torch.randn(4, 3))
    stuck = nn.Linear(3, 2)
    stuck.cache = stuck.weight * 2
    with pytest.raises(ConfigError, match=r"copy\.deepcopy"):
        log_synflow(stuck, torch.randn(4, 3))
