"""Four splits that never mix: train (weights), search (architecture parameters), selection (decisions), test.

K classes; index tensors are int64, sorted, on the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch
from torch import Tensor

from lab.base import DataError, derive_seed
from lab.datasets.bundle import DataBundle
from lab.datasets.config import DataConfig

ORDERS: Mapping[str, str] = MappingProxyType({"train": "weights", "search": "architecture", "selection": "decisions"})
"""Split -> its name in the seed of its order, which keeps the first names: stored runs must see the same batches."""


def order_seed(seed: int, split: str, epoch: int) -> int:
    """Seed of the order of `split` in `epoch`."""
    return derive_seed(seed, "order", ORDERS.get(split, split), epoch)


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Indices of the four parts: three disjoint ones of the training part, and the set's own test part."""

    train: Tensor
    """Indices into `x_train`: these samples train weights, and give the normalisation."""
    search: Tensor
    """Indices into `x_train`: these train architecture parameters."""
    selection: Tensor
    """Indices into `x_train`: these decide which changes stay."""
    test: Tensor
    """Indices into `x_test`: read once, at the end."""

    def sizes(self) -> dict[str, int]:
        """Number of samples in each part."""
        return {field.name: len(getattr(self, field.name)) for field in fields(self)}


def stratified_parts(y_N: Tensor, shares: tuple[float, ...], *, seed: int) -> tuple[Tensor, ...]:
    """Divide the indices of `y_N` (N,) so that each class is shared out alike, to within one sample.

    Within a class of n samples the cut after share s_1..s_j lies at round(n * (s_1 + .. + s_j)). The shares may add
    up to less than 1; the rest is then in no part.
    """
    parts: list[list[Tensor]] = [[] for _ in shares]
    for label in torch.unique(y_N).tolist():
        members = torch.nonzero(y_N == label).flatten()
        # A stream for each class: how one is divided does not depend on the others.
        generator = torch.Generator().manual_seed(derive_seed(seed, "class", label))
        members = members[torch.randperm(len(members), generator=generator)]
        begin, reached = 0, 0.0
        for part, share in zip(parts, shares, strict=True):
            reached += share
            end = round(len(members) * reached)
            part.append(members[begin:end])
            begin = end
    return tuple(torch.cat(part).sort().values for part in parts)


def split(bundle: DataBundle, config: DataConfig) -> Splits:
    """Divide `bundle` by the shares and the seed of `config`.

    Raises `DataError` where the training part is too small for one of its three parts, or smaller than `train_limit`.
    """
    y_N = bundle.y_train
    chosen = torch.arange(len(y_N))
    if config.train_limit is not None:
        if config.train_limit > len(y_N):
            got = f"a limit of {config.train_limit}"
            raise DataError(f"at most the {len(y_N)} training samples of {bundle.name}", got, "lower train_limit")
        limit = stratified_parts(y_N, (config.train_limit / len(y_N),), seed=derive_seed(config.seed, "limit"))
        chosen = limit[0]
    shares = (config.train_share, config.search_share, config.selection_share)
    parts = stratified_parts(y_N[chosen], shares, seed=derive_seed(config.seed, "splits"))
    train, search, selection = (chosen[part] for part in parts)
    splits = Splits(train=train, search=search, selection=selection, test=torch.arange(len(bundle.y_test)))
    empty = [name for name, size in splits.sizes().items() if size == 0]
    if empty:
        expected = f"enough training samples in {bundle.name} for three parts"
        got = f"{len(chosen)} samples, which leave {' and '.join(empty)} empty"
        raise DataError(expected, got, "add samples or raise that share")
    return splits
