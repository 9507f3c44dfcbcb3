"""Networks by name: the lab's own, torchvision's, or a user's factory."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable
from types import ModuleType

import torch
from torch import nn

from lab.base import ConfigError, require, takes
from lab.base.user_code import UserCode
from lab.nn.modes import eval_mode
from lab.nn.small_cnn import small_cnn

OWN = ("small_cnn", "seed_cnn")
"""The lab's own network, by its name and by the documents' one."""


def make_model(name: str, *, num_classes: int, in_channels: int, size: int, channels: int) -> nn.Module:
    """A fresh network for images (B, in_channels, size, size) that gives logits (B, num_classes).

    Args:
        name: small_cnn (whose first layer has `channels` units), a classification model of torchvision, or
            MODULE:FACTORY; the factory is called without arguments.

    Raises:
        ConfigError: no such network, or one that does not fit the images.
    """
    if ":" in name:
        make = load_factory(name)
        with UserCode(name):
            model = make()
        if not isinstance(model, nn.Module):
            raise ConfigError(f"{name}() to give a torch.nn.Module", type(model).__name__, "return the model")
    elif name in OWN:
        require(
            size % 4 == 0,
            expected="images whose side is a multiple of 4 for small_cnn",
            got=f"{size}x{size}",
            hint="choose another --model",
        )
        model = small_cnn(num_classes, size, in_channels, channels)
    else:
        model = _of_torchvision(name, num_classes, in_channels, size)
    _check(model, name, num_classes, torch.zeros(2, in_channels, size, size))
    return model


def _of_torchvision(name: str, num_classes: int, in_channels: int, size: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ConfigError(
            f"{OWN[0]}, MODULE:FACTORY or a classification model of torchvision",
            repr(name),
            "for instance resnet18, mobilenet_v2, vit_b_16",
        )
    more = {"image_size": size} if name.startswith("vit_") else {}
    require(
        not more or size % 16 == 0,
        expected=f"images whose side is a multiple of 16 for {name}",
        got=f"{size}x{size}",
        hint="choose another --model",
    )
    model: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **more)
    if in_channels != 3:
        path, first = next((path, m) for path, m in model.named_modules() if isinstance(m, nn.Conv2d))
        fresh = nn.Conv2d(
            in_channels,
            first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            first.stride,  # type: ignore[arg-type]
            first.padding,  # type: ignore[arg-type]
            bias=first.bias is not None,
        )
        parent, _, last = path.rpartition(".")
        setattr(model.get_submodule(parent), last, fresh)
    return model


@torch.no_grad()
def _check(model: nn.Module, name: str, num_classes: int, example_BCHW: torch.Tensor) -> None:
    shape = tuple(example_BCHW.shape[1:])
    try:
        with eval_mode(model):
            output = model(example_BCHW)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "choose another --model or --dataset"
        raise ConfigError(f"a network that takes images {shape}", f"{name}: {line}", hint) from error
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    require(
        found == (2, num_classes),
        expected=f"logits (B, {num_classes}) of {name}",
        got=found,
        hint="give a factory for this data set",
    )


def load_factory(target: str) -> Callable[..., object]:
    """The function that MODULE:FACTORY names, from the working folder or the path.

    Raises:
        ConfigError: another form, no such module or function, or one that needs arguments.
    """
    name, _, factory = target.partition(":")
    if not name or not factory:
        raise ConfigError("MODULE:FACTORY, as in my_package.my_module:make_model", repr(target), "use that form")
    dotted = _dotted(name)
    if dotted != name:
        raise ConfigError("the dotted name of a module", repr(name), f"write {dotted}:{factory}")
    module = import_module(name)
    make = getattr(module, factory, None)
    if not callable(make):
        found = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        got = ", ".join(found[:8]) or "no function"
        raise ConfigError(f"a function {factory} in {name}", got, f"define {factory}() there")
    require_plain_call(make, factory)
    return make


def _dotted(name: str) -> str:
    """What the user meant by a file or a relative name: `nets/dev.py` and `.nets.dev` are `nets.dev`."""
    steps = re.split(r"[./\\]+", re.sub(r"\.py$", "", name))
    return ".".join(step for step in steps if step) or "my_module"


def require_plain_call(make: Callable[..., object], name: str) -> None:
    """Refuse a factory that cannot be called without arguments.

    Args:
        make: the factory; one whose signature Python does not know passes.
        name: how the user calls it.

    Raises:
        ConfigError: it has a parameter without a default.
    """
    if not takes(make):
        got = f"{name}{inspect.signature(make)}"
        raise ConfigError(f"{name}() without arguments", got, "give each parameter a default, or wrap it in a function")


def import_module(name: str) -> ModuleType:
    """The module `name` from the working folder or the path.

    Raises:
        ConfigError: there is none, or it raises.
    """
    folder = os.getcwd()
    # A console script has its own folder on the path, not the working folder.
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with UserCode(f"the module {name}"):
            return importlib.import_module(name)
    except ConfigError as error:
        missing = error.__cause__
        # The module is there and misses an import of its own: that error says more than ours.
        if not isinstance(missing, ModuleNotFoundError) or not f"{name}.".startswith(f"{missing.name}."):
            raise
        hint = "give its dotted name, from the folder in which it lies"
        raise ConfigError(f"a module {name}", f"none in {folder} or on the path", hint) from error
