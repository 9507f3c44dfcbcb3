"""Batches of any usual form, read as what a model takes and what it should say.

B batch, K classes.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import DataError
from lab.device import batch_length, place

LABELS = ("labels", "label", "targets", "target", "y")
"""Names under which a batch may hold its labels."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One batch: inputs as the model's forward takes them, and labels."""

    inputs: Tensor | tuple[Any, ...] | dict[str, Any]
    """A tensor, a tuple of positional or a dict of keyword arguments."""
    labels_B: Tensor
    """Class of each sample (B,), integers."""

    def __len__(self) -> int:
        return len(self.labels_B)

    def logits(self, model: nn.Module) -> Tensor:
        """What `model` says (B, K): its output, or the `logits` of it.

        Raises:
            DataError: another output.
        """
        inputs = self.inputs
        if isinstance(inputs, dict):
            output = model(**inputs)
        else:
            output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
        found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(self):
            got = f"{tuple(found.shape)}" if isinstance(found, Tensor) else type(output).__name__
            raise DataError(
                f"logits ({len(self)}, K), or an output that has them", got, "wrap the model so that it gives them"
            )
        return found

    def losses(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Cross entropy of each sample (B,), nats, and logits (B, K)."""
        logits_BK = self.logits(model)
        return nn.functional.cross_entropy(logits_BK, self.labels_B, reduction="none"), logits_BK


def read_batch(batch: object, model: nn.Module, device: torch.device) -> Labelled:
    """Read a pair (inputs, labels), a mapping with labels, or an object with both as attributes; on `device`.

    Of a mapping everything but the labels goes to the forward by name, where it has those names; a single value goes to
    it by place.

    Raises:
        DataError: another form, or labels that are no classes.
    """
    if isinstance(batch, Labelled):
        inputs, labels = batch.inputs, batch.labels_B
    elif isinstance(batch, list | tuple) and len(batch) == 2:
        inputs, labels = batch[0], batch[1]
    else:
        inputs, labels = _named(batch, model)
    if not isinstance(labels, Tensor) or labels.dim() != 1 or labels.is_floating_point() or not len(labels):
        got = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError("labels (B,) of integers, at least one", got, "give the class of each sample")
    if batch_length(inputs) != len(labels):
        raise DataError(f"{len(labels)} inputs, as many as labels", f"{batch_length(inputs)}", "fix the loader")
    inputs, labels = place(inputs, device), place(labels, device)
    return Labelled(inputs=tuple(inputs) if isinstance(inputs, list) else inputs, labels_B=labels)


def _named(batch: object, model: nn.Module) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        values = dict(batch)
    elif isinstance(batch, tuple) and hasattr(batch, "_asdict"):
        values = dict(batch._asdict())
    elif not isinstance(batch, Tensor | list | tuple) and getattr(batch, "__dict__", None):
        values = {name: value for name, value in vars(batch).items() if not name.startswith("_")}
    else:
        values = {}
    name = next((name for name in LABELS if name in values), "")
    rest = {key: value for key, value in values.items() if key != name}
    if not name or not rest:
        raise DataError(
            f"a batch (inputs, labels), or one with inputs and labels by name ({', '.join(LABELS)})",
            _form(batch),
            "wrap the loader so that it gives one of these",
        )
    known = inspect.signature(model.forward).parameters
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    if open_ended or all(key in known for key in rest):
        return rest, values[name]
    if len(rest) == 1:
        return next(iter(rest.values())), values[name]
    unknown = ", ".join(key for key in rest if key not in known)
    raise DataError(f"inputs among {', '.join(known)}", f"{unknown} besides", "rename or drop them in the loader")


def _form(batch: object) -> str:
    kind = type(batch).__name__
    if isinstance(batch, Mapping):
        return f"{kind} of {', '.join(map(str, batch))}"
    if isinstance(batch, list | tuple):
        return f"{kind} of {len(batch)}: {', '.join(type(item).__name__ for item in batch)}"
    return kind


def read_loader(loader: Iterable[object], model: nn.Module, device: torch.device) -> list[Labelled]:
    """Every batch of a held-out loader, on `device`.

    Raises:
        DataError: no batch, or one of a form that is not known.
    """
    batches = [read_batch(batch, model, device) for batch in loader]
    if not batches:
        raise DataError("a loader with batches", "an empty one", "check its length and its sampler")
    return batches
