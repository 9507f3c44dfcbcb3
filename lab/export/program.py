"""Networks as programs: torch's own exported form, and ONNX. The batch dimension is left open in both.

B batch, C channels, H height, W width.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from lab.base import require_extra

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def _open_batch() -> tuple[dict[int, torch.export.Dim]]:
    # Needs an example of two samples or more: torch takes a size of 1 as fixed.
    return ({0: torch.export.Dim("batch", min=1)},)


def export_program(network: nn.Module, example_BCHW: Tensor, path: Path) -> None:
    """Write `network` to `path` with `torch.export.save`; `torch.export.load(path).module()` is called as it was.

    Args:
        network: in eval mode, on the CPU.
        example_BCHW: an input of at least two samples.
    """
    with torch.no_grad():
        program = torch.export.export(network, (example_BCHW,), dynamic_shapes=_open_batch(), strict=False)
    torch.export.save(program, path)


def export_onnx(network: nn.Module, example_BCHW: Tensor, path: Path) -> None:
    """Write `network` to `path` as one ONNX file with input `x` and output `logits`.

    Args:
        network: in eval mode, on the CPU.
        example_BCHW: an input of at least two samples.

    Raises:
        ConfigError: a package of the extra `export` is not installed.
    """
    require_onnx()
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network,
            (example_BCHW,),
            dynamic_shapes=_open_batch(),
            input_names=["x"],
            output_names=["logits"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)


def onnx_outputs(path: Path, x_BCHW: Tensor) -> Tensor:
    """What onnxruntime computes on the CPU from the file at `path`.

    Raises:
        ConfigError: a package of the extra `export` is not installed.
    """
    require_onnx()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"x": x_BCHW.numpy()})
    return torch.from_numpy(logits)


def require_onnx() -> None:
    """Raise `ConfigError` unless the packages of the extra `export` are there."""
    require_extra("export", "--to onnx", ONNX_PACKAGES, otherwise="export with --to pt2 or state")


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter speaks of its own deprecated calls and of operators of packages that are not in use."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
