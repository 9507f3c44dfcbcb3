"""A user's model, given as MODULE:FACTORY."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lab.base import ConfigError, takes
from lab.base.user_code import UserCode
from lab.nn.named import import_module, load_factory, require_plain_call

BATCH, LOSS, PLACEMENT = "make_batch", "make_loss", "make_placement"
OPTIMIZER, STEP = "make_optimizer", "make_step"
DEVICES = (str, torch.device, Mapping)
"""Types of a placement."""


@dataclass(frozen=True, kw_only=True)
class UserModel:
    """What a module gives to be examined."""

    model: nn.Module
    batch: Any
    """What `make_batch()` gives; None where the module has none."""
    loss: Callable[[Any, Any], Any] | None
    """What `make_loss()` gives, called with output and batch; None where the module has none."""
    placement: Any
    """What `make_placement()` gives: devices by prefix of module names; None where the module has none."""
    optimizer: Any
    """What `make_optimizer(model)` gives: an optimizer or several; None where the module has none."""
    step: Callable[[], Any] | None
    """What `make_step(model, optimizer)` gives: a step of training; None where the module has none."""


def load_user_model(target: str) -> UserModel:
    """Import MODULE from the working folder or the path, and call its factories.

    Raises:
        ConfigError: another form, no such module or factory, or a factory that raises or gives something else than it
            should.
    """
    make = load_factory(target)
    module_name, _, factory = target.partition(":")
    with UserCode(target):
        model = make()
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{factory}() to give a torch.nn.Module", type(model).__name__, "return the model")
    module = import_module(module_name)
    optimizer = _call(module, OPTIMIZER, "an optimizer, or several", _is_optimizer, model)
    return UserModel(
        model=model,
        batch=_call(module, BATCH, "the input of forward", lambda value: value is not None),
        loss=_call(module, LOSS, "a function of the output and the batch", callable),
        placement=_call(
            module,
            PLACEMENT,
            "a device, or devices by prefix of module names",
            lambda value: isinstance(value, DEVICES),
        ),
        optimizer=optimizer,
        step=_call(module, STEP, "a function without arguments that gives the loss", callable, model, optimizer),
    )


def _is_optimizer(value: Any) -> bool:
    several = isinstance(value, list | tuple) and len(value) > 0
    return all(isinstance(item, Optimizer) for item in (value if several else [value]))


def _call(module: Any, helper: str, gives: str, fits: Callable[[Any], bool], *offered: Any) -> Any:
    """What the helper gives, called with as many of the offered arguments as it takes; None where there is none."""
    make = getattr(module, helper, None)
    if make is None:
        return None
    where = f"remove {helper} from {module.__name__}"
    if not callable(make):
        raise ConfigError(f"{helper} to be a function", type(make).__name__, f"define {helper}(), or {where}")
    taken = next((offered[:count] for count in range(len(offered), 0, -1) if takes(make, *offered[:count])), ())
    if not taken:
        require_plain_call(make, helper)
    with UserCode(f"{module.__name__}:{helper}"):
        value = make(*taken)
    if not fits(value):
        raise ConfigError(f"{helper}() to give {gives}", type(value).__name__, f"return it, or {where}")
    return value
