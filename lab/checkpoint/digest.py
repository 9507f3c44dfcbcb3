"""A digest of nested state: equal exactly where every bit, key and type is equal."""

import hashlib
from typing import Any

import torch


def state_digest(state: Any) -> str:
    """SHA-256 (hexadecimal) over a tree of dicts, lists, tuples, tensors, numbers, strings, bytes and None.

    The order of a dict's keys does not count; shape, dtype and every byte of a tensor do, its device does not.

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
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        digest.update(f"d{len(value)}".encode())
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
