"""`PrecisionManager`: forward passes in fewer bits, and the loss scaling that float16 needs.

Source: Micikevicius et al. 2018, "Mixed Precision Training", sections 3.1 and 3.2.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lab.base import ConfigError, require_choice
from lab.mahia.kinds import PRECISIONS

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class PrecisionManager:
    """Autocast around the forward pass, and a gradient scaler where the precision is fp16.

    Weights, their gradients and the optimizer's state stay float32; only matrix products and convolutions inside
    `autocast` run in fewer bits. Float16 has 5 exponent bits: small gradients become 0, so the loss is multiplied by
    a scale before the backward pass and the gradients divided by it before the step; a step whose gradients overflow
    is left out and the scale halved. Bfloat16 has float32's range and needs no scale.

    On a CPU both work; bf16 is faster only where the processor has instructions for it, fp16 seldom is. Neither saves
    memory for weights.

    Args:
        precision: float32, bf16 or fp16.
        device: where the forward pass runs.
        initial_scale: of the scaler, > 0.

    Raises:
        ConfigError: an unknown precision, or a device that cannot compute in it.
    """

    def __init__(
        self, precision: str = "float32", device: torch.device | str = "cpu", *, initial_scale: float = 2.0**16
    ) -> None:
        require_choice("precision", precision, PRECISIONS)
        self.precision = precision
        self.device = torch.device(device)
        if precision != "float32" and not torch.amp.autocast_mode.is_autocast_available(self.device.type):
            raise ConfigError(f"a device that computes in {precision}", str(self.device), "use --precision float32")
        if precision == "bf16" and self.device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ConfigError(
                "a GPU that computes in bf16", torch.cuda.get_device_name(self.device), "use --precision fp16"
            )
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=initial_scale, enabled=precision == "fp16")

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The forward pass and the loss belong inside; the backward pass does not."""
        if self.precision == "float32":
            yield
            return
        with torch.autocast(self.device.type, dtype=DTYPES[self.precision]):
            yield

    @property
    def scale(self) -> float:
        """What the loss is multiplied by; 1 without a scaler."""
        return float(self.scaler.get_scale()) if self.scaler.is_enabled() else 1.0

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to call `backward` on."""
        scaled: Tensor = self.scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients of `optimizer` by the scale, so that they may be clipped; once a step."""
        self.scaler.unscale_(optimizer)

    def update(self, optimizer: torch.optim.Optimizer, *, finite: bool) -> bool:
        """Take the optimizer's step where `finite`, and move the scale; whether the step was taken.

        Args:
            finite: whether loss and gradient norm, after `unscale`, are finite.
        """
        if not self.scaler.is_enabled():
            if finite:
                optimizer.step()
            return finite
        # The scaler itself leaves the step out where a gradient is not finite, and `update` then halves the scale.
        self.scaler.step(optimizer)
        self.scaler.update()
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state; empty without one."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it was taken under another precision.
        """
        if bool(state) != self.scaler.is_enabled():
            raise ConfigError(
                f"the state of precision {self.precision}",
                "one with a scaler" if state else "one without a scaler",
                "use the precision that it was saved with",
            )
        if state:
            self.scaler.load_state_dict(state)

    def __repr__(self) -> str:
        scale = f", scale 2^{math.log2(self.scale):g}" if self.scaler.is_enabled() else ""
        return f"PrecisionManager({self.precision} on {self.device}{scale})"
