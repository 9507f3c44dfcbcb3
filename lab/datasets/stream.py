"""Batches of one part of a data set: whole tensors on the device, indexed.

Order is a function of (seed, split, epoch) and augmentation a function of (seed, epoch, sample), so that a run can be
taken up again inside an epoch and meet the same batches.
Not covered: sets that do not fit in the device's memory.

Shapes: N samples of the whole training or test part, n of them in this stream, B in a batch, C channels, H height,
W width, P = H + 2 * shift rows and Q = W + 2 * shift columns of a padded image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from lab.base import DataError, derive_seed, require, require_choice, require_range
from lab.datasets.bundle import DataBundle
from lab.datasets.config import DataConfig
from lab.datasets.load import load
from lab.datasets.splits import Splits, order_seed, split

PARTS = ("train", "search", "selection", "test")
FLOAT_LIMIT = 1_000_000_000
"""Bytes up to which a part is held normalised as float32; a larger one is normalised batch by batch."""
CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Mean and standard deviation of each channel of the train split; uint8 pixels count as pixel / 255."""

    mean: tuple[float, ...]
    """One mean for each channel."""
    deviation: tuple[float, ...]
    """One standard deviation for each channel; 1 where the channel is constant."""

    @classmethod
    def of(cls, x_NCHW: Tensor, indices_n: Tensor) -> "Normalisation":
        """Measured over the images at `indices_n`, in float64."""
        total = torch.zeros(x_NCHW.shape[1], dtype=torch.float64)
        squares, count = torch.zeros_like(total), 0
        for rows in indices_n.split(CHUNK):
            x = unit_pixels(x_NCHW[rows]).double()
            total += x.sum(dim=(0, 2, 3))
            squares += x.square().sum(dim=(0, 2, 3))
            count += x.numel() // x.shape[1]
        mean = total / count
        # Rounding can leave the variance of a constant channel below 0.
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        deviation[deviation < 1e-6] = 1.0
        return cls(mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

    def apply(self, x_BCHW: Tensor) -> Tensor:
        """(x - mean) / deviation for each channel, as float32."""
        mean = torch.tensor(self.mean, device=x_BCHW.device).view(1, -1, 1, 1)
        deviation = torch.tensor(self.deviation, device=x_BCHW.device).view(1, -1, 1, 1)
        return (unit_pixels(x_BCHW) - mean) / deviation


def unit_pixels(x: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]; float pixels as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


class BatchStream:
    """Batches of one part: `training` shuffles, augments and drops an incomplete last batch; else fixed order, all.

    Args:
        bundle: the data set.
        splits: its division.
        part: train, search, selection or test.
        normalisation: measured on the train split.
        batch_size: samples in a batch, at least 1.
        seed: run seed.
        training: shuffle and augment; else the stored order, no augmentation.
        device: where the part is held and the batches come out.

    Raises `DataError` where a training part has fewer samples than one batch.
    """

    def __init__(
        self,
        bundle: DataBundle,
        splits: Splits,
        part: str,
        *,
        normalisation: Normalisation,
        batch_size: int,
        seed: int = 0,
        training: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        require_choice("part", part, PARTS)
        require_range("batch_size", batch_size, 1)
        self.part, self.batch_size, self.seed, self.training = part, batch_size, seed, training
        self.normalisation = normalisation
        self.device = torch.device(device)
        x_NCHW, y_N = (bundle.x_test, bundle.y_test) if part == "test" else (bundle.x_train, bundle.y_train)
        self.indices: Tensor = getattr(splits, part)
        if training and batch_size > len(self.indices):
            expected = f"a batch size of at most the {len(self.indices)} samples of {bundle.name}'s {part} part"
            raise DataError(
                expected,
                f"{batch_size}",
                f"set the batch size to {len(self.indices)} or less (--batch-size), or use more samples",
            )
        self.whole_size = len(y_N)
        self.shape = bundle.shape
        self.shift = bundle.augmentation.shift if training else 0
        self.flip = bundle.augmentation.flip and training
        self.y_n = y_N[self.indices].to(self.device)
        self.x_nCPQ, self.normalised = self._hold(x_NCHW[self.indices])
        self._drawn: tuple[int, Tensor, tuple[Tensor, Tensor] | None] | None = None

    def _hold(self, x_nCHW: Tensor) -> tuple[Tensor, bool]:
        """The part on the device, padded with black for the shifts, and whether it is normalised already."""
        x_nCHW = x_nCHW.to(self.device)
        x_nCPQ = torch.nn.functional.pad(x_nCHW, (self.shift,) * 4) if self.shift else x_nCHW
        if 4 * x_nCPQ.numel() > FLOAT_LIMIT:
            return x_nCPQ, False
        return self.normalisation.apply(x_nCPQ), True

    @property
    def size(self) -> int:
        """Samples in the part, n."""
        return len(self.indices)

    def __len__(self) -> int:
        """Batches in one epoch."""
        return self.size // self.batch_size if self.training else -(-self.size // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """Rows of the part (n,) in the order of `epoch`, on the CPU."""
        if not self.training:
            return torch.arange(self.size)
        generator = torch.Generator().manual_seed(order_seed(self.seed, self.part, epoch))
        # On the CPU: the generator of a GPU gives another order for the same seed.
        return torch.randperm(self.size, generator=generator)

    def batches(self, epoch: int = 0, start_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, H, W) float32 and labels (B,) int64 of `epoch`, from batch `start_batch` on.

        Raises `ConfigError` for a negative epoch, or a first batch beyond the end.
        """
        require_range("epoch", epoch, 0)
        require_range("start_batch", start_batch, 0, len(self))
        return self._batches(epoch, start_batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a fixed-order stream; raises `ConfigError` for a training stream, which needs its epoch."""
        require(
            not self.training,
            expected="the epoch of a shuffled stream",
            got="a plain loop over it, which would repeat one epoch's order",
            hint="loop over stream.batches(epoch)",
        )
        return self.batches()

    def _batches(self, epoch: int, start_batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in range(start_batch, len(self)):
            yield self.batch(epoch, batch)

    def batch(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Batch `number` of `epoch`, by itself: images (B, C, H, W) float32 and labels (B,) int64."""
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self.order(epoch).to(self.device), self._placement(epoch))
        _, order_n, placement = self._drawn
        rows_B = order_n[number * self.batch_size : (number + 1) * self.batch_size]
        x_BCHW = self._window(rows_B, *placement) if placement else self.x_nCPQ.index_select(0, rows_B)
        if not self.normalised:
            x_BCHW = self.normalisation.apply(x_BCHW)
        return x_BCHW, self.y_n.index_select(0, rows_B)

    def _placement(self, epoch: int) -> tuple[Tensor, Tensor] | None:
        """For each row of the part, the padded image's rows (n, H) and columns (n, W) to show; None where all are.

        Drawn for every sample of the whole training part, so that a sample's draw depends on nothing else.
        """
        if not self.shift and not self.flip:
            return None
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "augmentation", epoch))
        _, height, width = self.shape
        down_N, right_N, mirror_N = (
            torch.randint(0, high, (self.whole_size,), generator=generator)
            for high in (2 * self.shift + 1, 2 * self.shift + 1, 2)
        )
        down_n, right_n, mirror_n = (draw[self.indices, None] for draw in (down_N, right_N, mirror_N))
        columns_nW = torch.arange(width).expand(self.size, -1)
        if self.flip:
            columns_nW = torch.where(mirror_n == 1, width - 1 - columns_nW, columns_nW)
        rows_nH = torch.arange(height) + down_n
        return rows_nH.to(self.device), (columns_nW + right_n).to(self.device)

    def _window(self, rows_B: Tensor, lines_nH: Tensor, columns_nW: Tensor) -> Tensor:
        """The shifted and mirrored images (B, C, H, W) of the part's rows `rows_B`, in one gather."""
        channels = torch.arange(self.shape[0], device=self.device).view(1, -1, 1, 1)
        lines = lines_nH.index_select(0, rows_B)[:, None, :, None]
        columns = columns_nW.index_select(0, rows_B)[:, None, None, :]
        return self.x_nCPQ[rows_B.view(-1, 1, 1, 1), channels, lines, columns]


@dataclass(frozen=True, kw_only=True, eq=False)
class Streams:
    """A data set, divided and ready to train on."""

    bundle: DataBundle
    """The set as loaded."""
    splits: Splits
    """Its division."""
    normalisation: Normalisation
    """Measured on the train split."""
    train: BatchStream
    """Shuffled and augmented batches that train weights."""
    make_search: Callable[[], BatchStream]
    """Makes `search`; only a search needs it, and a small set has no whole batch for it."""
    selection: BatchStream
    """All samples that decide about changes, in fixed order."""
    test: BatchStream
    """All test samples, in fixed order."""

    @cached_property
    def search(self) -> BatchStream:
        """Shuffled and augmented batches that train architecture parameters.

        Raises:
            DataError: fewer samples than one batch.
        """
        return self.make_search()


def open_streams(config: DataConfig, *, batch_size: int, device: torch.device | str = "cpu") -> Streams:
    """Load, divide and normalise the set of `config`; raises `DataError` where one of these cannot be done.

    The fixed-order streams take batches of at least 256, since they need no gradients.
    """
    bundle = load(config)
    splits = split(bundle, config)
    normalisation = Normalisation.of(bundle.x_train, splits.train)

    def stream(part: str, *, training: bool) -> BatchStream:
        return BatchStream(
            bundle,
            splits,
            part,
            normalisation=normalisation,
            batch_size=batch_size if training else max(batch_size, 256),
            seed=config.seed,
            training=training,
            device=device,
        )

    return Streams(
        bundle=bundle,
        splits=splits,
        normalisation=normalisation,
        train=stream("train", training=True),
        make_search=partial(stream, "search", training=True),
        selection=stream("selection", training=False),
        test=stream("test", training=False),
    )
