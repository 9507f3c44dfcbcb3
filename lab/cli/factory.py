"""A person's own model, given as MODULE:FACTORY."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from lab.base import ConfigError

BATCH, LOSS, PLACEMENT = "make_batch", "make_loss", "make_placement"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a module gives to be examined."""

    model: nn.Module
    batch: Any
    """What `make_batch()` gives; None where the module has none."""
    loss: Callable[[Any, Any], Any] | None
    """What `make_loss()` gives, called with output and batch; None where the module has none."""
    placement: Any
    """What `make_placement()` gives: devices by prefix of module names; None where the module has none."""


def load_subject(target: str) -> Subject:
    """Import MODULE from the working folder or the path, and call its factories.

    Raises:
        ConfigError: another form, no such module or factory, or a factory that gives no module.
    """
    name, _, factory = target.partition(":")
    if not name or not factory:
        raise ConfigError("MODULE:FACTORY, as in my_package.my_module:make_model", repr(target), "write it so")
    module = _import(name)
    make = getattr(module, factory, None)
    if not callable(make):
        raise ConfigError(f"a function {factory} in {name}", _names(module), f"define {factory}() there")
    model = make()
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{factory}() to give a torch.nn.Module", type(model).__name__, "return the model")
    batch, loss, placement = (_call(module, helper) for helper in (BATCH, LOSS, PLACEMENT))
    return Subject(model=model, batch=batch, loss=loss, placement=placement)


def _import(name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        todo = "give its dotted name, from the folder in which it lies"
        raise ConfigError(f"a module {name}", f"none in {folder} or on the path", todo) from error


def _call(module: ModuleType, helper: str) -> Any:
    make = getattr(module, helper, None)
    return make() if callable(make) else None


def _names(module: ModuleType) -> str:
    found = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return ", ".join(found[:8]) or "no function"
