"""`MetaAttentionKernel`: tokens that look at each other, at what changes slowly, and at what came before.

B samples, T tokens, D features, H heads, F = T // 2 + 1 frequencies.
Sources: Vaswani et al. 2017, section 3.2; Lee-Thorp et al. 2022, "FNet" (mixing tokens by a Fourier transform); Hillis
and Steele 1986, "Data parallel algorithms" (a scan in log2 T steps); Gu and Dao 2023, "Mamba", section 3.2 (a decay
that the token chooses).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.base import DataError, require, require_range
from lab.mahia.checks import require_features


class _LowPass(torch.autograd.Function):
    """The filter as a node that keeps nothing: it is linear and symmetric in T, so its backward is the filter again."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, keep: float, damp: float) -> Tensor:
        ctx.keep, ctx.damp = keep, damp
        wide_BTD = x_BTD.to(torch.promote_types(x_BTD.dtype, torch.float32))  # no transform in fewer bits on a CPU
        spectrum_BFD = torch.fft.rfft(wide_BTD, dim=1)
        frequencies = spectrum_BFD.shape[1]
        low_F1 = torch.arange(frequencies, device=x_BTD.device).unsqueeze(-1) < math.ceil(keep * frequencies)
        spectrum_BFD *= damp + (1 - damp) * low_F1.to(wide_BTD.dtype)
        slow_BTD = torch.fft.irfft(spectrum_BFD, n=x_BTD.shape[1], dim=1)
        # laid out as x is: attention falls back to a slower kernel for other layouts
        return slow_BTD.to(x_BTD.dtype).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return low_pass(gradients[0], ctx.keep, ctx.damp), None, None


def low_pass(x_BTD: Tensor, keep: float, damp: float) -> Tensor:
    """x with its highest frequencies over T damped: the lowest ceil(keep F) frequencies stay, the rest times `damp`.

    Args:
        keep: in (0, 1]; the mean over T (frequency 0) always stays.
        damp: in [0, 1].
    """
    slow_BTD: Tensor = _LowPass.apply(x_BTD, keep, damp)
    return slow_BTD


def scan(decay_BTD: Tensor, step_BTD: Tensor) -> Tensor:
    """h_t = decay_t h_(t-1) + step_t with h_(-1) = 0, in ceil(log2 T) steps over all tokens at once.

    No quotient and no logarithm: with decays in [0, 1] nothing can overflow, however long the sequence is.
    """
    T, shift = step_BTD.shape[1], 1
    while shift < T:
        earlier_BTD = F.pad(step_BTD, (0, 0, shift, 0))[:, :T]
        step_BTD = step_BTD + decay_BTD * earlier_BTD
        decay_BTD = decay_BTD * F.pad(decay_BTD, (0, 0, shift, 0))[:, :T]
        shift *= 2
    return step_BTD


class MetaAttentionKernel(nn.Module):
    """y = x + out(attention(n, n, v) + h) with n = LayerNorm(x), v = low_pass(n) and h a scan over v.

    Without `use_fourier` v is n; without `use_scan` there is no h. Scan: a = sigmoid(decay(n)),
    h_t = a_t h_(t-1) + (1 - a_t) value(v)_t. A masked token neither gives nor takes: its output is its input.

    Args:
        dim: D >= 1, a multiple of `heads`.
        use_fourier: damp high frequencies of what is attended to.
        use_scan: add the state-space branch, which sees earlier tokens alone.
        heads: H >= 1.
        keep: share of frequencies that stay, in (0, 1].
        damp: factor of the others, in [0, 1].

    Raises:
        ConfigError: a number outside its range.
    """

    def __init__(
        self,
        dim: int,
        use_fourier: bool = True,
        *,
        use_scan: bool = False,
        heads: int = 4,
        keep: float = 0.25,
        damp: float = 0.1,
    ) -> None:
        super().__init__()
        require_range("heads", heads, 1)
        require(
            dim > 0 and dim % heads == 0,
            expected=f"a dim that is a multiple of {heads} heads",
            got=f"dim = {dim}",
            hint="change one of the two",
        )
        require_range("keep", keep, 0, 1, open_low=True)
        require_range("damp", damp, 0, 1)
        self.dim, self.heads, self.use_fourier = dim, heads, use_fourier
        self.keep, self.damp = keep, damp
        self.norm = nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.decay = nn.Linear(dim, dim) if use_scan else None
        self.out = nn.Linear(dim, dim)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        Args:
            mask_BT: bool, True for a token and False for padding; default all tokens.

        Raises:
            DataError: another width, no items, whole numbers, or a mask of another form.
        """
        require_features(x_BTD, self.dim, "x", dims=(3,))
        if mask_BT is None:
            mask_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
        if mask_BT.shape != x_BTD.shape[:2] or mask_BT.dtype != torch.bool:
            got = f"{tuple(mask_BT.shape)} {mask_BT.dtype}"
            raise DataError(f"a mask of shape {tuple(x_BTD.shape[:2])} and type bool", got, "one bool for each token")
        mask_BT1 = mask_BT.unsqueeze(-1)
        n_BTD = self.norm(x_BTD) * mask_BT1
        value_BTD = self.value(n_BTD)
        if self.use_fourier:
            # the same as the value of what is slow (a constant passes unchanged), and backward keeps one tensor less
            value_BTD = low_pass(value_BTD, self.keep, self.damp)
        mixed_BTD = self._attended(n_BTD, value_BTD, mask_BT)
        if self.decay is not None:
            a_BTD = self.decay(n_BTD).sigmoid()
            # a masked token hands on what it was given
            kept_BTD = torch.where(mask_BT1, a_BTD, 1.0)
            mixed_BTD = mixed_BTD + scan(kept_BTD, (1 - kept_BTD) * value_BTD)
        y_BTD: Tensor = x_BTD + self.out(mixed_BTD) * mask_BT1
        return y_BTD

    def _attended(self, n_BTD: Tensor, value_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        q, k, v = (
            z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in (self.query(n_BTD), self.key(n_BTD), value_BTD)
        )
        # not minus infinity: what a row without a token gives would then be each attention kernel's own rule
        bias_B11T = torch.zeros_like(mask_BT, dtype=q.dtype).masked_fill(~mask_BT, torch.finfo(q.dtype).min)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias_B11T[:, None, None, :])
        return mixed.transpose(1, 2).flatten(2)
