"""The sentences of a run: tokenized once, divided four ways, given out in batches.

N sentences, B of a batch, L tokens of its longest.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.base import DataError, derive_seed
from lab.datasets import DataConfig
from lab.datasets.splits import order_seed, stratified_parts
from lab.device import DeviceLoader
from lab.state import state_digest
from lab.text.config import TINY, TextConfig
from lab.text.encoder import download, weight_files
from lab.text.table import TextTable, counts, read_table
from lab.text.tokens import load_tokenizer, tokenize, word_tokenizer
from lab.train import Split
from lab.train.strategy import Batches

TEST_SHARE = 0.2
"""Share of the sentences in the test split, where no fold is."""
EVALUATED = 256
"""Sentences at a time where no gradient is needed."""


class TextData:
    """Batches (x (B, 2, L), y (B, 3)) of a table: a function of seed and epoch, so a run goes on inside an epoch.

    x holds token ids and where there is a token, y the class and the span's first and last token. The test split is
    the fold that the settings name, or a fifth of the sentences, the same for every seed; the rest is divided by the
    shares of the data's settings. Each division keeps the shares of the classes.

    Args:
        data: path and shares; its seed is the run's.
        config: columns, encoder and length.
        batch_size: sentences in a training batch.
        device: where batches come out.

    Raises:
        DataError: as `read_table`; an empty split; fewer training sentences than one batch.
        LabError: no such encoder or tokenizer.
    """

    def __init__(self, data: DataConfig, config: TextConfig, *, batch_size: int, device: torch.device) -> None:
        self.table: TextTable = read_table(data.name, config)
        self.batch_size = batch_size
        self.seed = data.seed
        self.device = device
        self.rows = self._divided(data, config)
        if batch_size > len(self.rows["train"]):
            expected = f"a batch size of at most the {len(self.rows['train'])} training sentences"
            raise DataError(expected, str(batch_size), "lower --batch-size")
        self.folder: Path | None = None
        """Folder of the encoder; None for the tiny one."""
        if config.encoder == TINY:
            sentences = self.table.sentences
            self.tokenizer: Any = word_tokenizer([sentences[row].text for row in self.rows["train"].tolist()])
        else:
            self.folder = Path(config.encoder).expanduser()
            if config.hub and not self.folder.is_dir():
                self.folder = download(config.encoder)
            # Before the tokenizer: an empty folder lacks the encoder first of all.
            weight_files(self.folder)
            self.tokenizer = load_tokenizer(self.folder)
        self.tokens = tokenize(self.tokenizer, self.table.sentences, config.max_length)

    @property
    def title(self) -> str:
        """Name of the table, which says what is synthetic."""
        return self.table.title

    @property
    def synthetic(self) -> bool:
        """Whether a program wrote the sentences."""
        return self.table.synthetic

    @property
    def digest(self) -> str:
        """SHA-256 of all that a training sees: tokens, targets and splits."""
        return state_digest([self.tokens.x_N2L, self.tokens.y_N3, self.rows])

    def facts(self) -> dict[str, Any]:
        """What a report says of the data, as JSON data."""
        return {
            "classes": dict(counts(self.table)),
            "sentences": {name: len(own) for name, own in self.rows.items()},
            "longest": self.tokens.x_N2L.shape[2],
            "cut": self.tokens.cut,
            "further_spans": self.table.further_spans,
        }

    def length(self, split: Split) -> int:
        """Batches in one epoch of `split`."""
        return len(self.rows[str(split)]) // self.batch_size

    def batches(self, split: Split, epoch: int, start: int = 0) -> Batches:
        """The batches of `split` in `epoch` from number `start` on; an incomplete last one is left out."""
        own = self.rows[str(split)]
        generator = torch.Generator().manual_seed(order_seed(self.seed, str(split), epoch))
        order = own[torch.randperm(len(own), generator=generator)]
        whole = order[: len(own) // self.batch_size * self.batch_size]
        return self._moved(whole.split(self.batch_size)[start:])

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """None: encoders have no BatchNorm."""
        return iter(())

    def selection(self) -> Batches:
        """The selection split in fixed order."""
        return self._moved(self.rows["selection"].split(EVALUATED))

    def test(self) -> Batches:
        """The test split; read once, at the end of a run."""
        return self._moved(self.rows["test"].split(EVALUATED))

    def _moved(self, parts: tuple[Tensor, ...]) -> Batches:
        def made() -> Batches:
            for rows_B in parts:
                x_B2L, y_B3 = self.tokens.x_N2L[rows_B], self.tokens.y_N3[rows_B]
                # No step computes more padding than its longest sentence asks for.
                yield x_B2L[:, :, : int(x_B2L[:, 1].sum(1).max())], y_B3

        return iter(DeviceLoader(made(), self.device))

    def _divided(self, data: DataConfig, config: TextConfig) -> dict[str, Tensor]:
        """Rows of each split."""
        sentences = self.table.sentences
        kinds = [each.label if self.table.classes else int(each.span is not None) for each in sentences]
        kind_N = torch.tensor(kinds)
        if config.fold_column:
            held_N = torch.tensor([each.fold == config.test_fold for each in sentences])
            test = torch.nonzero(held_N).flatten()
            rest = torch.nonzero(~held_N).flatten()
        else:
            rest, test = stratified_parts(kind_N, (1 - TEST_SHARE, TEST_SHARE), seed=derive_seed(0, "text", "test"))
        shares = (data.train_share, data.search_share, data.selection_share)
        parts = stratified_parts(kind_N[rest], shares, seed=derive_seed(data.seed, "text", "splits"))
        rows = {name: rest[own] for name, own in zip(("train", "search", "selection"), parts, strict=True)}
        rows["test"] = test
        empty = [name for name, own in rows.items() if not len(own)]
        if empty:
            got = f"{' and '.join(empty)} without one, of {len(sentences)}"
            where = f" (column {config.fold_column}, fold {config.test_fold})" if config.fold_column else ""
            raise DataError(f"sentences in every split{where}", got, "give more sentences, or a fold that exists")
        return rows
