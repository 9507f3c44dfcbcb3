"""Digests: of nested state, equal exactly where every bit, key and type is; of a model's structure; of its weights."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from lab.state.kinds import entries


def state_digest(state: Any) -> str:
    """SHA-256 (hexadecimal) over a tree of dicts, lists, tuples, tensors, numbers, strings, bytes and None.

    The order of a dict's keys does not count; shape, dtype and every byte of a tensor do, its device does not.

    Args:
        state: the tree, to any depth.

    Raises:
        TypeError: a leaf of another type.
    """
    digest = hashlib.sha256()
    _feed(digest, state)
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", value: Any) -> None:
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"t{plain.dtype}{tuple(plain.shape)}".encode())
        # As bytes: numpy has no bfloat16. Flat, as a tensor without dimensions cannot be viewed in another dtype.
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        digest.update(f"d{len(value)}".encode())
        # By repr: keys of mixed types, numbers and names, have no order of their own.
        for key in sorted(value, key=repr):
            digest.update(repr(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"l{len(value)}".encode())
        for item in value:
            _feed(digest, item)
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        digest.update(f"{type(value).__name__}{value!r}".encode())
    else:
        raise TypeError(f"no digest for {type(value).__name__}")


_PLAIN = (bool, int, float, str, type(None))
# Neither the mode nor how many changes can be undone (`lab.morph.apply.DEPTH`) is structure.
_INTERNAL = frozenset({"training", "_morphs"})


def structure_digest(model: nn.Module) -> str:
    """BLAKE2 (hexadecimal) over names, kinds, plain attributes and shapes of all tensors; dtypes do not count.

    Args:
        model: any module; its mode and values do not count.

    Returns:
        32 hexadecimal digits; a class that moved or was renamed keeps its kind, so stored digests stay valid.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, kind, attributes in entries(model):
        digest.update(f"m{name}:{kind}".encode())
        for key, value in sorted(attributes.items()):
            if key not in _INTERNAL and _is_plain(value):
                digest.update(f"a{key}={value!r}".encode())
    for name, tensor in _tensors(model):
        digest.update(f"t{name}{tuple(tensor.shape)}".encode())
    return digest.hexdigest()


def weight_digest(model: nn.Module) -> str:
    """BLAKE2 (hexadecimal) over the bytes of every parameter and buffer, by name.

    Args:
        model: any module; a tied tensor counts once, devices do not count.

    Returns:
        32 hexadecimal digits.
    """
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
