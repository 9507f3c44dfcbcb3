"""Experts of a mixture: feed-forward networks of one shape, their weights stacked, run on rows sorted by expert.

Shapes: P rows (pairs of a token and an expert), E experts, D width, H hidden width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from lab.base import DataError, require_range
from lab.mahia.grouped import ALIGNMENT, grouped_product

GROUPED_DTYPES = {"cpu": (torch.float32, torch.bfloat16, torch.float16), "cuda": (torch.bfloat16,)}
"""Where the grouped product is used, and in which dtypes."""
AMPERE = (8, 0)
"""Compute capability of the first GPUs that have it."""


class SwiGLUExperts(nn.Module):
    """E networks down_e (silu(gate_e x) * up_e x), without biases.

    `gate_up` (E, 2H, D) holds gate_e above up_e, `down` is (E, D, H): the layout of Mixtral's experts.

    Two ways give the same numbers: torch's grouped product where it is valid, and a loop over the experts that have
    rows. The grouped product takes no float64 and no rows that are not a multiple of 16 bytes, does not check its
    offsets and leaves rows behind the last one uninitialised; so offsets are made here, from counts that are checked.

    Args:
        num_experts: E, >= 1.
        dim: D, >= 1.
        hidden: H, >= 1.

    Raises:
        ConfigError: one of them is below 1.

    Source: Shazeer 2020, "GLU Variants Improve Transformer", section 2 (SwiGLU); Jiang et al. 2024, "Mixtral of
    Experts", section 2.1.
    """

    def __init__(self, num_experts: int, dim: int, hidden: int) -> None:
        super().__init__()
        for name, value in (("num_experts", num_experts), ("dim", dim), ("hidden", hidden)):
            require_range(name, value, 1)
        self.gate_up = nn.Parameter(torch.empty(num_experts, 2 * hidden, dim))
        self.down = nn.Parameter(torch.empty(num_experts, dim, hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(inputs), as `nn.Linear` draws."""
        for weight in (self.gate_up, self.down):
            nn.init.uniform_(weight, -fan_bound(weight), fan_bound(weight))

    def __len__(self) -> int:
        return self.down.shape[0]

    def forward(self, x_PD: Tensor, counts_E: Tensor, *, grouped: bool | None = None, trusted: bool = False) -> Tensor:
        """Each row through the expert that it belongs to.

        Args:
            x_PD: the rows of expert 0, then those of expert 1, and so on.
            counts_E: rows of each expert, integers >= 0 that add up to P.
            grouped: True for the grouped product, False for the loop, None for the grouped product where it is valid.
            trusted: the counts are known to fit, and the grouped product need not read them: reading waits for a GPU,
                and cannot be traced.

        Returns:
            (P, D).

        Raises:
            DataError: counts that do not fit the rows, or `grouped` where the grouped product is not valid.
        """
        x_PD, gate_up, down = _autocast(x_PD, self.gate_up, self.down)
        reason = grouped_refusal(x_PD, gate_up, down)
        if grouped and reason:
            raise DataError("rows that the grouped product takes", reason, "set grouped to None")
        if grouped is False or reason:
            return self._loop(x_PD, gate_up, down, _checked(counts_E.tolist(), x_PD, len(self)))
        if not trusted:
            _checked(counts_E.tolist(), x_PD, len(self))
        # int32, which the grouped product demands of its offsets.
        offsets_E = counts_E.cumsum(0, dtype=torch.int32)
        gate_PH, up_PH = grouped_product(x_PD, gate_up, offsets_E).chunk(2, dim=-1)
        return grouped_product(silu(gate_PH) * up_PH, down, offsets_E)

    def _loop(self, x_PD: Tensor, gate_up: Tensor, down: Tensor, counts: list[int]) -> Tensor:
        # One unbind, not one index an expert: its backward makes the gradient of all experts in one piece.
        weights = zip(gate_up.unbind(0), down.unbind(0), strict=True)
        parts = []
        for x_RD, (gate_up_2HD, down_DH) in zip(x_PD.split(counts), weights, strict=True):
            # Without any row all of them run, so that the result still hangs on the weights.
            if len(x_RD) or not len(x_PD):
                gate_RH, up_RH = linear(x_RD, gate_up_2HD).chunk(2, dim=-1)
                parts.append(linear(silu(gate_RH) * up_RH, down_DH))
        return torch.cat(parts)

    def extra_repr(self) -> str:
        experts, dim, hidden = self.down.shape
        return f"{experts}, dim={dim}, hidden={hidden}"


def fan_bound(weight: Tensor) -> float:
    """1 / sqrt(inputs) of stacked weights (..., outputs, inputs)."""
    return 1.0 / math.sqrt(weight.shape[-1])


def grouped_refusal(x: Tensor, *weights: Tensor) -> str:
    """Why torch's grouped product is not used for rows `x` and stacked `weights`; "" where it is.

    Args:
        x: rows (T, D) of all experts, one after the other.
        weights: stacked (E, D, H), of any number of products that run on `x`.
    """
    if x.dtype not in GROUPED_DTYPES.get(x.device.type, ()):
        return f"{x.dtype} on {x.device.type}"
    if not hasattr(nn.functional, "grouped_mm"):
        return f"torch {torch.__version__}, which has none"
    if x.is_cuda and torch.cuda.get_device_capability(x.device) < AMPERE:
        return f"a GPU older than compute capability {AMPERE[0]}.{AMPERE[1]}"
    for tensor in (x, *weights):
        if tensor.shape[-1] * tensor.element_size() % ALIGNMENT:
            return f"rows of {tensor.shape[-1] * tensor.element_size()} bytes, no multiple of {ALIGNMENT}"
        if tensor.device != x.device or tensor.dtype != x.dtype:
            return f"{x.dtype} on {x.device} beside {tensor.dtype} on {tensor.device}"
    return ""


AUTOCAST = frozenset(
    name for name in ("cpu", "cuda", "mps", "xpu") if torch.amp.autocast_mode.is_autocast_available(name)
)
"""Device types that have autocast; asked once, since torch.compile cannot trace the question before torch 2.13."""


def _autocast(*tensors: Tensor) -> list[Tensor]:
    """In the dtype of autocast, which does not know the grouped product."""
    device = tensors[0].device.type
    if device not in AUTOCAST or not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors]


def _checked(counts: list[int], x_PD: Tensor, experts: int) -> list[int]:
    if len(counts) != experts or min(counts) < 0 or sum(counts) != len(x_PD):
        expected = f"{experts} counts >= 0 that add up to {len(x_PD)} rows"
        raise DataError(expected, f"{len(counts)} that add up to {sum(counts)}", "count the rows of each expert")
    return counts
