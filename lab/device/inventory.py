"""Every tensor of a model under its full name, by the way in which the model holds it.

Covered: parameters, buffers of both kinds, plain tensor attributes (in containers too), each under every name that it
has. Not covered: tensors inside objects that are neither modules nor containers.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lab.device.walk import plain_tensors

PARAMETER = "parameter"
PERSISTENT_BUFFER = "persistent buffer"
PASSING_BUFFER = "non-persistent buffer"
PLAIN_ATTRIBUTE = "plain attribute"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldTensor:
    """One name of one tensor of a model."""

    name: str
    """Full name, as in `named_parameters`; for a plain attribute in a container with its index or key."""
    kind: str
    """parameter, persistent buffer, non-persistent buffer or plain attribute."""
    tensor: Tensor
    """The object that the model holds, no copy."""


def inventory(model: nn.Module) -> tuple[HeldTensor, ...]:
    """Every name of every tensor of `model`; a tied tensor and a shared module come under each of their names.

    A plain attribute that holds a tensor registered in the same module (recurrent nets keep such lists) is left out.

    Args:
        model: any module; nothing is run or changed.
    """
    held = []
    for prefix, module in model.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                held.append(HeldTensor(name=dot + name, kind=PARAMETER, tensor=parameter))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                kind = PASSING_BUFFER if name in module._non_persistent_buffers_set else PERSISTENT_BUFFER
                held.append(HeldTensor(name=dot + name, kind=kind, tensor=buffer))
        own = {id(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())}
        for path, tensor in plain_tensors(module):
            if id(tensor) not in own:
                held.append(HeldTensor(name=dot + path, kind=PLAIN_ATTRIBUTE, tensor=tensor))
    return tuple(held)


def offloaded(model: nn.Module) -> tuple[str, ...]:
    """What shows that the model is spread or offloaded on purpose: hooks of `device_map`, by module; empty if nothing.

    Such a model has meta tensors by design: hooks bring each module's weights while it runs.

    Args:
        model: any module. Read are the attributes that accelerate sets: `_hf_hook` of each module and `hf_device_map`
            of the model. Accelerate itself is not imported.
    """
    signs = []
    for name, module in model.named_modules():
        for hook in _hooks(getattr(module, "_hf_hook", None)):
            if getattr(hook, "offload", False):
                signs.append(f"{type(hook).__name__} on {name or 'the model'}")
    places = getattr(model, "hf_device_map", None) or {}
    if len(set(map(str, places.values()))) > 1 or "disk" in places.values():
        signs.append(f"hf_device_map over {', '.join(sorted(set(map(str, places.values()))))}")
    return tuple(signs)


def _hooks(hook: Any) -> list[Any]:
    if hook is None:
        return []
    return [inner for part in getattr(hook, "hooks", ()) for inner in _hooks(part)] or [hook]
