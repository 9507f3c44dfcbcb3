"""One real problem with a table, a text and three targets: what a tumour's cells measure, told in numbers and in words.

Records and targets are those of the Breast Cancer Wisconsin (Diagnostic) set, which scikit-learn ships. The texts are
synthetic: a program writes what five of the columns say, which the table leaves out, so that neither input is enough.

N samples of a part, L positions of a text, C columns, B samples of a batch.
Source: Street, Wolberg and Mangasarian 1993, "Nuclear feature extraction for breast tumor diagnosis"; UCI, 1995.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.base import DataError, derive_seed, require_range
from lab.datasets.sources import MULTITASK_SOURCE
from lab.datasets.splits import order_seed, stratified_parts

TEST_SHARE = 0.2
UNTOLD = 0.1
"""Share of the told columns that a text leaves out."""
TOLD = ("texture", "smoothness", "concavity", "symmetry", "fractal dimension")
"""Columns (means over the cells) that the texts tell; the table has the other five means and all ten errors."""
LEVELS = ("very low", "low", "medium", "high", "very high")
"""Words for the fifths of the training records."""
PADDING = "(padding)"
VOCABULARY = (PADDING, ".", "is", *sorted({word for text in (*TOLD, *LEVELS) for word in text.split()}))
"""Word of each id; 0 is padding."""
LENGTH = 6 * len(TOLD)
"""L: positions of a text, padding included; the longest phrase has six words."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One target."""

    name: str
    classes: tuple[str, ...] = ()
    """Names of the classes; none for a regression."""
    mean: float = 0.0
    """Of a regression's target over the train split, in its unit; targets are (value - mean) / deviation."""
    deviation: float = 1.0
    """Standard deviation of it."""

    @property
    def outputs(self) -> int:
        """Outputs that a model needs for it: one for each class, or one number."""
        return len(self.classes) or 1


@dataclass(frozen=True, kw_only=True, eq=False)
class MultitaskPart:
    """One part of the records."""

    name: str
    ids_NL: Tensor
    """Word ids of the texts, int64."""
    table_NC: Tensor
    """Columns, float32: mean 0 and deviation 1 over the train split."""
    targets: dict[str, Tensor]
    """Of each task (N,): class numbers int64, or standardised numbers float32."""

    def __len__(self) -> int:
        return len(self.ids_NL)

    def batches(
        self, batch_size: int, *, seed: int = 0, epoch: int = 0, start_batch: int = 0, training: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Ids (B, L), columns (B, C) and targets of `epoch`, from batch `start_batch` on.

        Args:
            batch_size: B, from 1 to N.
            seed: of the order, which is a function of (seed, part, epoch).
            training: shuffle, and leave out an incomplete last batch; else the stored order, all.

        Raises:
            DataError: more samples in a batch than there are.
            ConfigError: a number below its range.
        """
        for name, value, least in (("batch_size", batch_size, 1), ("epoch", epoch, 0), ("start_batch", start_batch, 0)):
            require_range(name, value, least)
        if training and batch_size > len(self):
            expected = f"a batch size of at most the {len(self)} samples of the {self.name} part"
            raise DataError(expected, f"{batch_size}", "lower the batch size")
        order_N = torch.arange(len(self))
        if training:
            generator = torch.Generator().manual_seed(order_seed(seed, self.name, epoch))
            order_N = torch.randperm(len(self), generator=generator)[: len(self) // batch_size * batch_size]
        for rows_B in order_N.split(batch_size)[start_batch:]:
            targets = {name: target_N[rows_B] for name, target_N in self.targets.items()}
            yield self.ids_NL[rows_B], self.table_NC[rows_B], targets


@dataclass(frozen=True, kw_only=True, eq=False)
class MultitaskData:
    """The whole problem."""

    title: str
    source: str
    licence: str
    vocabulary: tuple[str, ...]
    """Word of each id."""
    columns: tuple[str, ...]
    """Names of the C columns of the table."""
    tasks: tuple[Task, ...]
    train: MultitaskPart
    """Trains weights, and gives the standardisation."""
    selection: MultitaskPart
    """Read after each epoch."""
    test: MultitaskPart
    """Read once, at the end."""

    @property
    def text_length(self) -> int:
        """L: positions of a text, padding included."""
        return self.train.ids_NL.shape[1]

    def text(self, ids_L: Tensor) -> str:
        """The words of one text."""
        return " ".join(self.vocabulary[number] for number in ids_L.tolist() if number)


def load_multitask(seed: int = 0, *, selection_share: float = 0.2) -> MultitaskData:
    """569 records in three parts, 456 of them for weights and decisions.

    Tasks: `diagnosis` (malignant or benign), `worst_area` (square pixels; mostly in the table) and `worst_texture`
    (grey levels; mostly in the text): the largest values of a tumour's cells, which are not among the inputs.

    Args:
        seed: of the division of the training records; texts and test part are the same for every seed.
        selection_share: share of the training records that decides, in (0, 1).

    Raises:
        ConfigError: a share outside its range.
        DataError: a share that leaves a part empty.
    """
    from sklearn.datasets import load_breast_cancer

    require_range("selection_share", selection_share, 0, 1, open_low=True)
    records = load_breast_cancer()
    names = [str(name) for name in records.feature_names]
    values_RF = np.asarray(records.data, dtype=np.float64)
    labels_R = torch.from_numpy(np.asarray(records.target, dtype=np.int64))
    train, test = stratified_parts(labels_R, (1 - TEST_SHARE, TEST_SHARE), seed=derive_seed(0, "multitask", "test"))
    shares = (1 - selection_share, selection_share)
    parts = stratified_parts(labels_R[train], shares, seed=derive_seed(seed, "multitask", "splits"))
    rows = {"train": train[parts[0]], "selection": train[parts[1]], "test": test}
    empty = [name for name, own in rows.items() if not len(own)]
    if empty:
        got = f"selection_share = {selection_share}, which leaves {' and '.join(empty)} empty"
        raise DataError("records in every part", got, "move the share away from 0 and 1")
    ids_RL = _texts(values_RF[:, [names.index(f"mean {name}") for name in TOLD]], train.numpy())
    columns = tuple(name for name in names if not name.startswith("worst") and name.removeprefix("mean ") not in TOLD)
    table_RC, _, _ = _standardised(values_RF[:, [names.index(name) for name in columns]], rows["train"])
    tasks = [Task(name="diagnosis", classes=tuple(str(name) for name in records.target_names))]
    targets = {"diagnosis": labels_R}
    for task in ("worst_area", "worst_texture"):
        value_R1, mean, deviation = _standardised(values_RF[:, [names.index(task.replace("_", " "))]], rows["train"])
        targets[task] = value_R1[:, 0]
        tasks.append(Task(name=task, mean=float(mean[0]), deviation=float(deviation[0])))
    made = {
        name: MultitaskPart(
            name=name,
            ids_NL=ids_RL[own],
            table_NC=table_RC[own],
            targets={task: target_R[own] for task, target_R in targets.items()},
        )
        for name, own in rows.items()
    }
    return MultitaskData(
        title=MULTITASK_SOURCE.title,
        source=MULTITASK_SOURCE.origin,
        licence=MULTITASK_SOURCE.licence,
        vocabulary=VOCABULARY,
        columns=columns,
        tasks=tuple(tasks),
        **made,
    )


def _standardised(
    values_RC: NDArray[np.float64], weights_N: Tensor
) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """Columns less their mean, over their deviation, both over the train split, as float32; the two as well."""
    own_NC = values_RC[weights_N.numpy()]
    mean_C, deviation_C = own_NC.mean(0), own_NC.std(0)
    return torch.from_numpy(((values_RC - mean_C) / deviation_C).astype(np.float32)), mean_C, deviation_C


def _texts(values_RK: NDArray[np.float64], train_N: NDArray[np.int64]) -> Tensor:
    """Word ids (R, L) of what a program says about each record; a function of the records alone.

    The fifths are those of the training records. Columns come in random order, each in one of two forms of words, and
    one of ten is left out.
    """
    edges_K = [np.quantile(column[train_N], (0.2, 0.4, 0.6, 0.8)) for column in values_RK.T]
    number_of = {word: number for number, word in enumerate(VOCABULARY)}
    ids_RL = torch.zeros(len(values_RK), LENGTH, dtype=torch.int64)
    for row, record in enumerate(values_RK):
        rng = np.random.default_rng(derive_seed(0, "multitask", "text", row))
        words: list[str] = []
        for k in rng.permutation(len(TOLD)):
            level = LEVELS[int(np.searchsorted(edges_K[k], record[k]))]
            phrase = f"{TOLD[k]} is {level} ." if rng.random() < 0.5 else f"{level} {TOLD[k]} ."
            if rng.random() >= UNTOLD or not words:  # no text is empty
                words += phrase.split()
        ids_RL[row, : len(words)] = torch.tensor([number_of[word] for word in words])
    return ids_RL
