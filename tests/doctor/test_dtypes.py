"""The simulation raises where the real kernels refuse dtypes, and nowhere else."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.doctor import examine, simulate

HALF, FLOAT, DOUBLE, BRAIN = torch.float16, torch.float32, torch.float64, torch.bfloat16
MODES = pytest.mark.parametrize("follow_data", [False, True])


@MODES
def test_a_half_layer_behind_a_float_one_raises_with_line_and_operands(follow_data: bool) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4).half()

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            return self.last(h)

    report = simulate(Two(), torch.ones(2, 4), follow_data=follow_data)
    assert report.verdict == "raises"
    assert not report.ok
    assert report.place is not None
    assert report.place.text == "return self.last(h)"
    assert report.module == "last"
    assert [(operand.name, operand.dtype) for operand in report.operands] == [
        ("", "float32"),
        ("last.weight", "float16"),
        ("last.bias", "float16"),
    ]
    assert "parameter last.weight (4, 4) on cuda:0 float16" in str(report)
    assert "autocast" in report.fix


@MODES
@pytest.mark.parametrize("dtype", [DOUBLE, HALF, torch.int64])
def test_an_input_of_another_dtype_raises(dtype: torch.dtype, follow_data: bool) -> None:
    for model in (nn.Linear(4, 4), nn.Conv1d(4, 4, 1)):
        x = torch.ones(2, 4, 4, dtype=dtype)
        report = simulate(nn.Sequential(model), x, follow_data=follow_data)
        assert report.verdict == "raises", str(report)
        assert report.operands[0].kind == "input"
        assert report.operands[0].dtype == str(dtype).removeprefix("torch.")


@MODES
def test_without_a_line_of_the_users_the_line_is_that_of_the_layer(follow_data: bool) -> None:
    report = simulate(nn.Sequential(nn.Linear(4, 4).half()), torch.ones(2, 4), follow_data=follow_data)
    assert report.place is not None
    assert report.place.path.endswith("linear.py")
    assert report.place.function == "Linear.forward"


@MODES
def test_a_page_counts_it(follow_data: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4)).half()
    model[0].requires_grad_(False)
    page = examine(model, torch.ones(2, 4), placements=["cuda:0"], follow_data=follow_data)
    assert page.headline.startswith("1 found (1 by simulation)")


class _Autocast(nn.Module):
    """Half inside the region; float where torch keeps it; a half layer that only a half input fits."""

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.first, self.norm, self.low = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4).to(dtype)
        self.conv = nn.Conv1d(4, 4, 1)
        self.dtype, self.on = dtype, device

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(self.on, dtype=self.dtype):
            h = self.first(x)
            assert h.dtype == self.dtype
            h = self.norm(h).softmax(-1)
            h = self.conv(h[..., None])[..., 0]
            attended = F.scaled_dot_product_attention(h[None], h[None], h[None])[0]
        return self.low(attended).float() @ self.first.weight


@MODES
@pytest.mark.parametrize("dtype", [HALF, BRAIN])
def test_autocast_regions_stay_right(dtype: torch.dtype, follow_data: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = simulate(_Autocast(dtype, "cuda"), torch.ones(2, 4), follow_data=follow_data)
    assert report.ok, str(report)
    assert not torch.is_autocast_enabled("cuda")
    if not torch.cuda.is_available():
        assert torch.cuda.amp.common.amp_definitely_not_available()
        assert not torch.cuda.is_bf16_supported()


@MODES
def test_what_comes_out_of_autocast_meets_a_float_layer(follow_data: bool) -> None:
    class Out(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cuda", dtype=torch.bfloat16):
                h = self.first(x)
            return self.last(h)

    report = simulate(Out(), torch.ones(2, 4), follow_data=follow_data)
    assert report.verdict == "raises"
    assert report.module == "last"


def _rows(b: Tensor) -> Tensor:
    return b[0].clone()


# Two matrices of four by four, of two dtypes.
CALLS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "mm": lambda a, b: a @ b,
    "addmm": lambda a, b: torch.addmm(b[0], a, b),
    "bmm": lambda a, b: torch.bmm(a[None], b[None]),
    "baddbmm": lambda a, b: torch.baddbmm(a[None], a[None], b[None]),
    "mv": lambda a, b: a @ b[0],
    "dot": lambda a, b: a[0] @ b[0],
    "einsum": lambda a, b: torch.einsum("ij,jk->ik", a, b),
    "linear": F.linear,
    "linear with bias": lambda a, b: F.linear(a, b, b[0]),
    "conv1d": lambda a, b: F.conv1d(a[None], b[:, :, None]),
    "bias of conv1d": lambda a, b: F.conv1d(a[None], a[:, :, None], b[0]),
    "conv_transpose1d": lambda a, b: F.conv_transpose1d(a[None], b[:, :, None]),
    "batch_norm": lambda a, b: F.batch_norm(a, _rows(b), _rows(b), b[2], b[3], True),
    "batch_norm in eval": lambda a, b: F.batch_norm(a, _rows(b), _rows(b), b[2], b[3], False),
    "group_norm": lambda a, b: F.group_norm(a, 2, b[0], b[0]),
    "attention": lambda a, b: F.scaled_dot_product_attention(a[None, None], b[None, None], a[None, None]),
    "grid_sample": lambda a, b: F.grid_sample(a[None, None], torch.stack([b, b], -1)[None], align_corners=False),
    "binary_cross_entropy": lambda a, b: F.binary_cross_entropy(a, b),
    "weight of cross_entropy": lambda a, b: F.cross_entropy(a, torch.arange(4, device=a.device), b[0]),
    "index_add": lambda a, b: a.index_add(0, torch.zeros(1, dtype=torch.long, device=a.device), b[:1]),
    "index_copy": lambda a, b: a.index_copy(0, torch.zeros(1, dtype=torch.long, device=a.device), b[:1]),
    "index_put": lambda a, b: a.index_put((torch.zeros(1, dtype=torch.long, device=a.device),), b[:1]),
    "scatter": lambda a, b: a.scatter(0, torch.zeros(4, 4, dtype=torch.long, device=a.device), b),
    "cross": lambda a, b: torch.linalg.cross(a[:, :3], b[:, :3]),
    "add": lambda a, b: a + b,
    "add in place": lambda a, b: a.clone().add_(b),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "cat": lambda a, b: torch.cat([a, b]),
    "mse": lambda a, b: F.mse_loss(a, b),
    "binary_cross_entropy_with_logits": lambda a, b: F.binary_cross_entropy_with_logits(a, b),
    "item assignment": lambda a, b: a.clone().__setitem__(0, b[0]),
    "copy": lambda a, b: a.clone().copy_(b),
}
PAIRS = ((FLOAT, HALF), (DOUBLE, FLOAT), (FLOAT, FLOAT))
ALL_PAIRS = (*PAIRS, (HALF, FLOAT), (FLOAT, DOUBLE), (BRAIN, FLOAT), (FLOAT, BRAIN))


class _Call(nn.Module):
    def __init__(self, call: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.call = call

    def forward(self, a: Tensor, b: Tensor) -> object:
        return self.call(a, b)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("pairs", [PAIRS, pytest.param(ALL_PAIRS, marks=pytest.mark.large)])
def test_the_simulation_refuses_what_the_real_kernel_refuses(
    name: str, pairs: tuple[tuple[torch.dtype, torch.dtype], ...]
) -> None:
    for first, second in pairs:
        a, b = torch.rand(4, 4).to(first), torch.rand(4, 4).to(second)
        try:
            CALLS[name](a, b)
            real = "ok"
        except RuntimeError:
            real = "raises"
        assert simulate(_Call(CALLS[name]), (a, b)).verdict == real, (first, second)
