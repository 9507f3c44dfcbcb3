"""Weights that a model declares to be one tensor under several names."""

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from lab.base import ConfigError
from lab.device import HeldTensor

_EXPANDED = "all_tied_weights_keys"
_DECLARED = "_tied_weights_keys"


def broken_ties(
    model: nn.Module, held: Sequence[HeldTensor], ties: Sequence[Sequence[str]]
) -> tuple[tuple[str, str], ...]:
    """Pairs of names that should be one tensor and are not; the second name is empty where any partner would do.

    Declared are the groups in `ties`, and what a module says in `_tied_weights_keys` (names or patterns mapped to the
    names that they follow; or a list of names, each tied to some other), unless its configuration switches ties off.

    Raises:
        ConfigError: a name in `ties` that the model has not.
    """
    tensors = {item.name: item.tensor for item in held}
    broken: dict[tuple[str, str], None] = {}
    for name, other in (*_given(ties, tensors), *_declared(model, tensors)):
        if other:
            tied = tensors[name] is tensors[other]
        else:
            tied = any(tensor is tensors[name] for key, tensor in tensors.items() if key != name)
        if not tied:
            broken[name, other] = None
    return tuple(broken)


def _given(ties: Sequence[Sequence[str]], tensors: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for group in ties:
        if isinstance(group, str) or len(group) < 2:
            raise ConfigError(
                "ties as groups of two names or more", repr(group), "write ties=[('a.weight', 'b.weight')]"
            )
        for name in group:
            if name not in tensors:
                raise ConfigError("names of the model in ties", repr(name), "take names from model.named_parameters()")
        for name in group[1:]:
            yield name, group[0]


def _declared(model: nn.Module, tensors: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        names = [name.removeprefix(dot) for name in tensors if name.startswith(dot)]
        expanded = vars(module).get(_EXPANDED)
        declared = getattr(module, _DECLARED, None)
        if getattr(getattr(module, "config", None), "tie_word_embeddings", True) is False:
            continue
        if isinstance(expanded, Mapping):
            pairs = list(expanded.items())
        elif isinstance(declared, Mapping):
            pairs = [pair for item in declared.items() for pair in _expand(*item, names)]
        else:
            pairs = [(name, "") for pattern in declared or () for name in names if re.fullmatch(pattern, name)]
        for name, other in pairs:
            if dot + name in tensors and (not other or dot + other in tensors):
                yield dot + name, dot + other if other else ""


def _expand(target: str, source: str, names: list[str]) -> list[tuple[str, str]]:
    """Pairs of full names for a target and a source, each a name, a prefix of names or a pattern."""
    targets = sorted(name for name in names if re.match(rf"(?:{target})(?:$|\.)", name))
    sources = sorted(name for name in names if re.match(rf"(?:{source})(?:$|\.)", name))
    if not sources:
        return []
    return [(name, sources[number % len(sources)]) for number, name in enumerate(targets)]
