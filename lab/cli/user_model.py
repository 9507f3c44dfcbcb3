"""A user's model, given as MODULE:FACTORY."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from lab.base import ConfigError
from lab.nn.named import import_module, load_factory

BATCH, LOSS, PLACEMENT = "make_batch", "make_loss", "make_placement"


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


def load_user_model(target: str) -> UserModel:
    """Import MODULE from the working folder or the path, and call its factories.

    Raises:
        ConfigError: another form, no such module or factory, or a factory that gives no module.
    """
    make = load_factory(target)
    module_name, _, factory = target.partition(":")
    model = make()
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{factory}() to give a torch.nn.Module", type(model).__name__, "return the model")
    module = import_module(module_name)
    batch, loss, placement = (_call(module, helper) for helper in (BATCH, LOSS, PLACEMENT))
    return UserModel(model=model, batch=batch, loss=loss, placement=placement)


def _call(module: Any, helper: str) -> Any:
    make = getattr(module, helper, None)
    return make() if callable(make) else None
