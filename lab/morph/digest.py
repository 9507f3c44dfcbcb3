"""Digests of a model: one of its structure, one of its weights, so that a change that changed nothing is seen."""

import hashlib

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, type(None))
_INTERNAL = frozenset({"training", "_morphs"})


def structure_digest(model: nn.Module) -> str:
    """BLAKE2 (hexadecimal) over names, classes, plain attributes and shapes of all tensors; dtypes do not count."""
    digest = hashlib.blake2b(digest_size=16)
    for name, module in model.named_modules(remove_duplicate=False):
        digest.update(f"m{name}:{type(module).__module__}.{type(module).__qualname__}".encode())
        for key, value in sorted(vars(module).items()):
            if key not in _INTERNAL and _is_plain(value):
                digest.update(f"a{key}={value!r}".encode())
    for name, tensor in _tensors(model):
        digest.update(f"t{name}{tuple(tensor.shape)}".encode())
    return digest.hexdigest()


def weight_digest(model: nn.Module) -> str:
    """BLAKE2 (hexadecimal) over the bytes of every parameter and buffer, by name."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in _tensors(model):
        plain = tensor.detach().cpu().contiguous()
        digest.update(name.encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = list(model.named_parameters())
    return found + list(model.named_buffers())


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(isinstance(item, _PLAIN) for item in value))
