"""What the experiment on sentences can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import require_choice, require_range

TEXT_METHODS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "criteria": ("class", "`CriteriaModel`, tiny encoder from random weights"),
        "tfidf": ("class", "TF-IDF and logistic regression, the same sentences"),
        "tfidf_all": ("class", "TF-IDF and logistic regression, all sentences outside the fold"),
        "majority": ("class", "the most frequent class"),
        "evidence": ("span", "`EvidenceModel`, tiny encoder from random weights"),
        "phrases": ("span", "the longest phrase that was a span in training"),
        "never": ("span", "never a span"),
    }
)
"""Method -> what it says of a sentence, and what it is."""


@dataclass(frozen=True, kw_only=True)
class TextBench:
    """Settings of `lab experiment text`.

    Text models on a tiny encoder against TF-IDF with logistic regression, held out fold by fold.
    """

    data: str = ""
    """Path of the table, which is not shipped: columns text, fold, intents and spans, as NLU++ has them."""
    intent: str = "request_info"
    """The class of `CriteriaModel`: whether a sentence has this intent."""
    span: str = "date"
    """The span of `EvidenceModel`: the spans of this name."""
    methods: tuple[str, ...] = tuple(TEXT_METHODS)
    """What is measured."""
    folds: int = 20
    """Folds that are held out in turn, >= 1: the first ones in the order of their numbers."""
    seeds: int = 1
    """Seeds of each text model on each fold, >= 1."""
    epochs: int = 15
    """Epochs of a training, >= 1."""
    batch_size: int = 32
    """Sentences in a training batch, >= 2."""
    weight_lr: float = 1e-3
    """First learning rate of AdamW, in (0, 0.01], cosine over the training."""
    dropout: float = 0.2
    """Dropout of encoder and heads, in [0, 0.9]."""
    dim: int = 64
    """Width of the tiny encoder, >= 4, a multiple of 4."""
    layers: int = 1
    """Its layers, >= 1."""
    pooling: str = "max"
    """Pooling of `CriteriaModel`."""
    train_share: float = 0.9
    """Share of the sentences outside the fold that train, in (0, 0.95]; 0.02 are unused, the rest is only read."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/text")
    """Where finished pieces are kept, one JSON for each method, fold and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        for name in ("folds", "seeds", "epochs", "layers", "threads"):
            require_range(name, getattr(self, name), 1)
        require_range("batch_size", self.batch_size, 2)
        require_range("train_share", self.train_share, 0, 0.95, open_low=True)
        for method in self.methods:
            require_choice("method", method, TEXT_METHODS.keys())

    @property
    def protocol(self) -> dict[str, Any]:
        """What a piece depends on, beside method, fold and seed."""
        ignored = ("data", "methods", "folds", "seeds", "threads", "folder")
        return {name: value for name, value in vars(self).items() if name not in ignored}
