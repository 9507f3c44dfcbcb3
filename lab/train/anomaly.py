"""Anomaly detection of a run: torch names the operation whose gradient is no number, the run says it in one line."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import torch

from lab.base import TrainingError

NAN = re.compile(r"Function '(\w+)' returned nan values")
WHERE = re.compile(r'File "([^"]+)", line (\d+), in (\w+)')


@contextmanager
def anomaly_detection(enabled: bool) -> Iterator[None]:
    """Torch's anomaly mode inside the block where `enabled`; as before the block afterwards.

    Raises:
        TrainingError: a gradient was NaN: the operation, and the line of the forward that called it.
    """
    if not enabled:
        yield
        return
    traces: list[str] = []
    shown = warnings.showwarning

    def keep(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if "Error detected in" in str(message):
            traces.append(str(message))
        else:
            shown(message, category, filename, lineno, file, line)

    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        # By default Python drops a warning that this line has given before, and with it the trace.
        warnings.filterwarnings("always", message="Error detected in")
        warnings.showwarning = keep
        try:
            yield
        except RuntimeError as error:
            found = NAN.search(str(error))
            if found is None:
                raise
            got = f"NaN from {found[1]}{_line(traces)}"
            hint = "lower --weight-lr, or look at that operation's input with lab doctor"
            raise TrainingError("finite gradients", got, hint) from error


def _line(traces: list[str]) -> str:
    """The innermost line of the forward outside of torch."""
    places = WHERE.findall(traces[-1]) if traces else []
    own = [place for place in places if "/torch/" not in place[0].replace("\\", "/")]
    if not own:
        return ""
    path, line, function = own[-1]
    return f", called at {path}:{line} in {function}"
