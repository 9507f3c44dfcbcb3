"""The counter of floating-point operations against counts by hand.

B samples, T tokens, D width, H hidden width.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from lab.mahia import SwiGLUExperts
from lab.nn import count_flops, measure_flops


class Attention(nn.Module):
    """Tokens (B, T, D) through one head of attention, without projections."""

    def forward(self, x_BTD, causal=False):
        x_B1TD = x_BTD.unsqueeze(1)
        return scaled_dot_product_attention(x_B1TD, x_B1TD, x_B1TD, is_causal=causal)


class LearntToken(nn.Module):
    """A learnt token, expanded to the batch and handed to a submodule, as in CaiT and DETR."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.layer = nn.Linear(8, 4)

    def forward(self, x_BTD):
        return self.layer(self.token.expand(len(x_BTD), -1, -1)) + self.layer(x_BTD)


def settings():
    backends = torch.backends.cuda
    return (
        torch.backends.mha.get_fastpath_enabled(),
        backends.flash_sdp_enabled(),
        backends.mem_efficient_sdp_enabled(),
        backends.math_sdp_enabled(),
        backends.cudnn_sdp_enabled(),
    )


def test_two_are_counted_for_each_multiply_accumulate():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(4 * 25, 3))
    assert measure_flops(network, torch.zeros(1, 1, 5, 5)) == 2 * (25 * 4 * 9 + 100 * 3)
    assert network.training, "the mode is as before"


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("tokens", [10, 200, 1000])
def test_attention_counts_its_scores_and_its_mixture(tokens, grad):
    x_BTD = torch.randn(1, tokens, 32)
    with torch.set_grad_enabled(grad), count_flops() as count:
        Attention()(x_BTD.requires_grad_(grad))
    assert count.total == 2 * 2 * tokens * tokens * 32
    assert measure_flops(Attention(), x_BTD.detach()) == count.total
    assert measure_flops(Attention(), {"x_BTD": x_BTD.detach(), "causal": True}) == count.total


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention_counts_four_projections_and_two_products(weights, training, grad):
    tokens, dim = 10, 8
    attention = nn.MultiheadAttention(dim, 2, batch_first=True).train(training)
    x_BTD = torch.randn(3, tokens, dim)
    with torch.set_grad_enabled(grad), count_flops() as count:
        attention(x_BTD, x_BTD, x_BTD, need_weights=weights)
    assert count.total == 3 * (4 * 2 * tokens * dim * dim + 2 * 2 * tokens * tokens * dim)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_an_encoder_layer_counts_the_same_in_each_mode(training, grad):
    tokens, dim, hidden = 10, 8, 16
    layer = nn.TransformerEncoderLayer(dim, 2, hidden, batch_first=True).train(training)
    with torch.set_grad_enabled(grad), count_flops() as count:
        layer(torch.randn(3, tokens, dim))
    attention = 4 * 2 * tokens * dim * dim + 2 * 2 * tokens * tokens * dim
    assert count.total == 3 * (attention + 2 * 2 * tokens * dim * hidden)


def test_settings_are_as_before_also_where_the_forward_raises():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    layer.norm1.eval()
    modes, before = [module.training for module in layer.modules()], settings()
    for given in (nullcontext(), sdpa_kernel(SDPBackend.FLASH_ATTENTION)):
        with given:
            inside = settings()
            measure_flops(layer, torch.randn(2, 5, 8))
            assert settings() == inside
            with pytest.raises((RuntimeError, AssertionError)):
                measure_flops(layer, torch.randn(2, 5, 7))
            assert settings() == inside
    assert settings() == before
    assert [module.training for module in layer.modules()] == modes


@pytest.mark.parametrize("grad", [True, False])
def test_a_learnt_token_that_is_expanded_is_counted(grad):
    model, x_BTD = LearntToken(), torch.randn(2, 3, 8)
    with torch.set_grad_enabled(grad), count_flops() as count:
        model(x_BTD)
    assert count.total == 2 * (2 + 2 * 3) * 8 * 4 == measure_flops(model, x_BTD)


def test_counting_leaves_no_hook_behind_and_blocks_count_apart():
    layer, x = nn.Linear(8, 4), torch.randn(2, 8)
    with count_flops() as outer:
        layer(x)
        with count_flops() as inner:
            layer(x)
        layer(x)
    layer(x)
    assert inner.total == 128
    assert outer.total == 3 * 128
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_layers_count_the_products_of_each_gate(kind, dtype):
    gates = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}[kind]
    steps, dim, hidden = 5, 8, 6
    model = kind(dim, hidden, num_layers=2, bidirectional=True, batch_first=True).to(dtype)
    first, second = gates * hidden * (dim + hidden), gates * hidden * (2 * hidden + hidden)
    assert measure_flops(model, torch.randn(2, steps, dim, dtype=dtype)) == 2 * 2 * steps * 2 * (first + second)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_on_a_gpu_recurrent_layers_and_attention_count_the_same(kind):
    model, x = kind(8, 6, num_layers=2, batch_first=True), torch.randn(2, 5, 8)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    expected = measure_flops(model, x), measure_flops(layer, x)
    assert (measure_flops(model.cuda(), x.cuda()), measure_flops(layer.cuda(), x.cuda())) == expected


def test_experts_count_the_rows_that_they_run():
    experts, counts = SwiGLUExperts(3, 8, 16), torch.tensor([3, 0, 4])
    x, expected = torch.randn(7, 8), 2 * 7 * (8 * 32 + 16 * 8)
    assert measure_flops(experts, (x, counts)) == expected
    assert measure_flops(experts, {"x_PD": x, "counts_E": counts, "grouped": False}) == expected
    with count_flops() as count:
        experts(x.requires_grad_(), counts).sum().backward()
    assert count.total == 3 * expected


OPERATIONS = {
    "matrix and vector": (lambda: torch.randn(3, 4) @ torch.randn(4), 2 * 12),
    "sum of matrix and vector": (lambda: torch.addmv(torch.randn(3), torch.randn(3, 4), torch.randn(4)), 2 * 12),
    "two vectors": (lambda: torch.randn(4) @ torch.randn(4), 2 * 4),
    "sum of a batch": (lambda: torch.addbmm(torch.ones(2, 5), torch.ones(3, 2, 4), torch.ones(3, 4, 5)), 2 * 3 * 40),
    "three factors": (lambda: nn.Bilinear(3, 4, 5)(torch.randn(2, 3), torch.randn(2, 4)), 3 * 2 * 3 * 4 * 5),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_products_that_torch_has_no_formula_for_are_counted(operation):
    run, expected = OPERATIONS[operation]
    with count_flops() as count:
        run()
    assert count.total == expected
