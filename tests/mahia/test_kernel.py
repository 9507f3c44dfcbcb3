import pytest
import torch

from lab.base import ConfigError, DataError
from lab.mahia import MetaAttentionKernel, PrecisionManager
from lab.mahia.kernel import low_pass, scan

D, T = 4, 7


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_the_filter_keeps_slow_waves_and_damps_fast_ones():
    time = torch.arange(32).double()
    for frequency, gain in ((0, 1.0), (1, 1.0), (4, 1.0), (5, 0.1), (16, 0.1)):
        wave = torch.cos(2 * torch.pi * frequency * time / 32).reshape(1, 32, 1)
        assert torch.allclose(low_pass(wave, 0.25, 0.1), gain * wave, atol=1e-12), frequency


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_the_filters_own_backward_is_right_twice(length):
    x = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: low_pass(x, 0.25, 0.1), x)
    assert torch.autograd.gradgradcheck(lambda x: low_pass(x, 0.25, 0.1).square(), x)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 13])
def test_the_scan_equals_the_loop(length):
    decay, step = torch.rand(2, length, 3).double(), torch.randn(2, length, 3).double()
    hidden, expected = torch.zeros(2, 3).double(), []
    for t in range(length):
        hidden = decay[:, t] * hidden + step[:, t]
        expected.append(hidden)
    assert torch.allclose(scan(decay, step), torch.stack(expected, 1), atol=1e-12)


def test_a_long_scan_with_small_decays_stays_finite():
    decay, step = torch.full((1, 4096, 1), 1e-6), torch.ones(1, 4096, 1)
    assert torch.allclose(scan(decay, step), torch.tensor(1.0), atol=1e-5)


@pytest.mark.parametrize("use_fourier", [False, True])
def test_masked_tokens_neither_give_nor_take(use_fourier):
    kernel = MetaAttentionKernel(D, use_fourier, use_scan=True)
    x, mask = torch.randn(3, T, D), torch.ones(3, T, dtype=torch.bool)
    mask[0, 4:], mask[1, :2], mask[2] = False, False, False
    other = torch.where(mask.unsqueeze(-1), x, torch.randn_like(x))
    y, y_other = kernel(x, mask), kernel(other, mask)
    assert torch.allclose(y[mask], y_other[mask], atol=1e-6)
    assert torch.equal(y[~mask], x[~mask])
    y.square().sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in kernel.parameters())


def test_a_masked_token_between_others_changes_nothing():
    kernel, x = MetaAttentionKernel(D, use_fourier=False, use_scan=True), torch.randn(2, T, D)
    longer = torch.cat((x[:, :3], torch.randn(2, 2, D), x[:, 3:]), 1)
    mask = torch.ones(2, T + 2, dtype=torch.bool)
    mask[:, 3:5] = False
    assert torch.allclose(kernel(longer, mask)[mask].reshape(x.shape), kernel(x), atol=1e-6)


def test_without_options_it_is_plain_attention_and_each_option_changes_it():
    torch.manual_seed(0)
    plain = MetaAttentionKernel(D, use_fourier=False)
    x, found = torch.randn(2, T, D), []
    for options in ({"use_fourier": False}, {"use_fourier": True}, {"use_fourier": False, "use_scan": True}):
        kernel = MetaAttentionKernel(D, **options)
        kernel.load_state_dict(plain.state_dict(), strict=False)
        found.append(kernel(x))
    assert torch.equal(found[0], plain(x))
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_it_runs_in_fewer_bits():
    assert low_pass(torch.randn(2, T, D).bfloat16(), 0.25, 0.1).dtype == torch.bfloat16
    kernel = MetaAttentionKernel(D, use_scan=True)
    with PrecisionManager("bf16").autocast():
        y = kernel(torch.randn(2, T, D))
    y.float().sum().backward()
    assert bool(torch.isfinite(kernel.value.weight.grad).all())


def test_a_mask_of_another_form_is_named():
    with pytest.raises(DataError, match=r"mask of shape \(2, 7\) and type bool, got \(2, 6\) torch.bool"):
        MetaAttentionKernel(D)(torch.randn(2, T, D), torch.ones(2, 6, dtype=torch.bool))
    with pytest.raises(DataError, match="got .* torch.float32"):
        MetaAttentionKernel(D)(torch.randn(2, T, D), torch.ones(2, T))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "multiple of 3 heads, got dim = 4"),
        ({"keep": 0.0}, "keep > 0"),
        ({"damp": 2.0}, "damp >= 0 and <= 1, got damp = 2"),
    ],
)
def test_settings_outside_their_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MetaAttentionKernel(D, **options)
