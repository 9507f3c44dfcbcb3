"""What the agent sees: one vector of numbers near 1, each with its name.

S features.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lab.base import DataError

FEATURES = (
    "loss",
    "accuracy",
    "parameters",
    "layers",
    "entropy",
    "redundancy",
    "information",
    "label_information",
    "compression",
    "read",
    "progress",
    "accept_rate",
    "last_reward",
    "growth",
)
"""Entries of a state in order. `read` is 1 where the layers' measures are known, else they count 0."""
READ = ("entropy", "redundancy", "information", "label_information", "compression")


def encode(metrics: Mapping[str, float], history: Mapping[str, float]) -> Tensor:
    """The state (S,), float32, CPU.

    Args:
        metrics: loss (nats), accuracy in [0, 1], parameters; layers and the entries of `READ` where they are known.
        history: progress in the episode and accept rate in [0, 1], last reward, ln of the parameters over the first.

    Raises:
        DataError: something is missing or no number, or an accuracy in percent.
    """
    for name in ("loss", "accuracy", "parameters"):
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            got = "none" if value is None else str(value)
            raise DataError(f"a finite {name} in the metrics", got, "take them from evaluate(loader)")
    if not 0.0 <= metrics["accuracy"] <= 1.0:
        raise DataError("accuracy as a share in [0, 1]", f"{metrics['accuracy']}", "divide percent by 100")
    read = all(name in metrics for name in READ)
    values = {
        "loss": math.log1p(max(metrics["loss"], 0.0)),
        "accuracy": metrics["accuracy"],
        "parameters": math.log10(max(metrics["parameters"], 1.0)) / 8.0,
        "layers": math.log1p(metrics.get("layers", 0.0)) / 4.0,
        "read": float(read),
        **({name: math.tanh(metrics[name] / scale) for name, scale in _SCALES.items()} if read else {}),
        **history,
    }
    return torch.tensor([float(values.get(name, 0.0)) for name in FEATURES])


_SCALES = {"entropy": 4.0, "redundancy": 1.0, "information": 2.0, "label_information": 0.5, "compression": 4.0}
