import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.mahia import PRECISIONS, PrecisionManager


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))


def step(manager, net, optimizer, x):
    with manager.autocast():
        loss = net(x).float().square().mean()
    manager.scaled(loss).backward()
    manager.unscale(optimizer)
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1e9)
    taken = manager.update(optimizer, finite=bool(torch.isfinite(norm)))
    return taken, norm


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_run_in_the_precision_and_weights_stay_float32(net, precision, dtype):
    with PrecisionManager(precision).autocast():
        out = net(torch.ones(3, 8))
    assert out.dtype == dtype
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_gradient_is_that_of_float32_within_the_precision(net, precision):
    x = torch.randn(16, 8)
    net(x).square().mean().backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    taken, _ = step(PrecisionManager(precision), net, optimizer, x)
    assert taken
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        tolerance = 1e-6 if precision == "float32" else 0.03
        assert (parameter.grad - gradient).abs().max() <= tolerance * gradient.abs().max()


def test_an_overflow_leaves_the_weights_and_halves_the_scale(net):
    manager = PrecisionManager("fp16", initial_scale=2.0**40)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = [p.detach().clone() for p in net.parameters()]
    taken, norm = step(manager, net, optimizer, torch.randn(4, 8))
    assert not taken
    assert not torch.isfinite(norm)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert manager.scale == 2.0**39


def test_a_scaler_goes_on_where_its_state_was_taken(net):
    manager, other = PrecisionManager("fp16", initial_scale=2.0**40), PrecisionManager("fp16")
    step(manager, net, torch.optim.SGD(net.parameters(), lr=0.1), torch.randn(4, 8))
    other.load_state_dict(manager.state_dict())
    assert other.scale == manager.scale


def test_a_state_of_another_precision_is_refused():
    with pytest.raises(ConfigError, match="the state of precision bf16, got one with a scaler"):
        PrecisionManager("bf16").load_state_dict(PrecisionManager("fp16").state_dict())


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="float32, bf16, fp16"):
        PrecisionManager("int8")


def test_a_device_without_autocast_is_refused():
    with pytest.raises(ConfigError, match="a device that computes in bf16, got meta"):
        PrecisionManager("bf16", "meta")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_gpu_trains_in_fewer_bits(net, precision):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    net = net.cuda()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    manager = PrecisionManager(precision, "cuda", initial_scale=2.0**8)
    x = torch.randn(16, 8, device="cuda")
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(float(net(x).square().mean()))
        step(manager, net, optimizer, x)
    assert losses[-1] < 0.5 * losses[0]
