"""`TextConfig`: which table is read, which encoder is taken, which model stands on it."""

from dataclasses import dataclass

from lab.base import require, require_choice, require_range

TASKS = ("criteria", "evidence", "share", "joint")
POOLINGS = ("cls", "mean", "max", "attention")
TINY = "tiny"
"""The encoder that is made on the spot and starts from random weights."""
HIGHEST_RATE = 0.01
"""Largest learning rate of recipe text: its optimizer is AdamW, whose steps are as long as its rate."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The table, the encoder, and the model on it."""

    task: str = "criteria"
    """criteria: the class of a sentence; evidence: where its span starts and ends; share: both on one encoder; or
    joint: both on two encoders whose outputs are fused."""
    encoder: str = TINY
    """A folder with an encoder's config.json, tokenizer and safetensors, or tiny: a small one from random weights."""
    hub: bool = False
    """Download the encoder from the Hugging Face hub if it is no folder here."""
    text_column: str = "text"
    """Column of the sentences."""
    label_column: str = "label"
    """Column of the classes."""
    label_value: str = ""
    """Train on two classes: whether this is among the values of label_column, which | separates. Empty: every value of
    the column is a class."""
    span_column: str = "spans"
    """Column of the spans: start:end or name:start:end in characters, end exclusive, separated by ; or empty."""
    span_name: str = ""
    """Take the spans of this name alone; empty for all. The first of a sentence is the one to find."""
    fold_column: str = ""
    """Column that says in which fold a sentence is; empty where a fifth of the sentences is the test split."""
    test_fold: str = ""
    """With fold_column: the value of the sentences that are the test split."""
    max_length: int = 128
    """Tokens of a sentence at most, 4 to 8192; what comes behind them is cut off."""
    pooling: str = "mean"
    """How the tokens' outputs become one vector: cls (the first one), mean, max or attention."""
    head_layers: int = 1
    """Linear layers of the classification head, 1 to 8."""
    head_dim: int = 128
    """Width of the head's hidden layers, >= 1."""
    dropout: float = 0.1
    """Dropout of the heads, and of a tiny encoder, in [0, 0.9]."""
    criteria_weight: float = 0.5
    """For share and joint: weight of the class's loss, in [0, 1]; the span's loss has the rest."""
    freeze_encoder: bool = False
    """Train the heads alone."""
    tiny_dim: int = 64
    """Width of the tiny encoder, >= 4, a multiple of its heads."""
    tiny_layers: int = 2
    """Layers of the tiny encoder, 1 to 48."""
    tiny_heads: int = 4
    """Attention heads of the tiny encoder, >= 1."""

    def __post_init__(self) -> None:
        require_choice("task", self.task, TASKS)
        require_choice("pooling", self.pooling, POOLINGS)
        require_range("max_length", self.max_length, 4, 8192)
        require_range("head_layers", self.head_layers, 1, 8)
        require_range("head_dim", self.head_dim, 1)
        require_range("dropout", self.dropout, 0, 0.9)
        require_range("criteria_weight", self.criteria_weight, 0, 1)
        require_range("tiny_dim", self.tiny_dim, 4)
        require_range("tiny_layers", self.tiny_layers, 1, 48)
        require_range("tiny_heads", self.tiny_heads, 1)
        require(
            self.tiny_dim % self.tiny_heads == 0,
            expected="tiny_dim as a multiple of tiny_heads",
            got=f"{self.tiny_dim} and {self.tiny_heads}",
            hint="round it",
        )
        for name in ("encoder", "text_column", "label_column", "span_column"):
            require(bool(getattr(self, name).strip()), expected=f"a name in {name}", got="an empty one", hint="give it")
        require(
            bool(self.fold_column) == bool(self.test_fold),
            expected="fold_column and test_fold together",
            got=f"fold_column {self.fold_column!r} and test_fold {self.test_fold!r}",
            hint="give both, or neither",
        )

    @property
    def has_classes(self) -> bool:
        """Whether the model says the class of a sentence."""
        return self.task != "evidence"

    @property
    def has_spans(self) -> bool:
        """Whether the model says where the span of a sentence is."""
        return self.task != "criteria"
