"""Kinds of event about single samples and layers: what a network says of fixed samples, how much each layer moves.

Covers what a reader may count on being in an event's payload, as `records` does for all other kinds. Each is bounded in
size whatever the data set and the network are: forty samples, ten or twenty classes, thirty-two layers.
"""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class ProofEvent:
    """What the network said of ten fixed samples right before and right after a change of its structure.

    The samples are of the selection split, in eval mode; the numbers are the float32 ones of the network, unrounded.
    """

    kind: ClassVar[str] = "proof"
    what: str
    """extraction (of the live network from the supernet), mutation, growth or action (of the agent)."""
    number: int
    """Count of such changes in this run, from 1; of a mutation the number of its mutation events."""
    title: str
    """What was changed, for the reader."""
    samples: list[int]
    """Positions in the selection split."""
    labels: list[int]
    """True class of each."""
    columns: list[int]
    """Classes that `before` and `after` have a column for, ten at most."""
    before: list[list[float]]
    """softmax of the outputs, a row for each sample."""
    after: list[list[float]]
    """The same behind the change."""
    difference: float
    """max |after - before| / max |before| over all outputs of these samples, before the softmax."""
    moved: float
    """Largest |after - before| of a probability, over all classes."""
    same: int
    """Outputs with the same bits before and after."""
    outputs: int
    """Outputs that were compared."""
    exact: bool
    """Whether the change is one that leaves the function as it is."""


@dataclass(frozen=True, kw_only=True)
class ImagesEvent:
    """The fixed samples of the selection split whose predictions a run tells; told once."""

    kind: ClassVar[str] = "images"
    samples: list[int]
    """Positions in the selection split, forty at most."""
    labels: list[int]
    """True class of each; empty where they have none."""
    classes: list[str]
    """Name of each class; empty where there are none, or too many to name."""
    images: list[str] = field(default_factory=list)
    """A WebP file for each sample, base64, 16 kB together; empty where the samples are no images."""
    texts: list[str] = field(default_factory=list)
    """What stands for each sample where it is no image."""
    note: str = ""
    """What is shown in place of images, and why."""


@dataclass(frozen=True, kw_only=True)
class PredictionsEvent:
    """What the network says of the fixed samples, and whom it confuses on the whole selection split."""

    kind: ClassVar[str] = "predictions"
    samples: list[int]
    """Positions in the selection split, those of the images event."""
    right: list[bool]
    """Whether each was classified correctly."""
    predicted: list[int] = field(default_factory=list)
    """Class that each was taken for; empty where the network's output is no class."""
    confidence: list[float] = field(default_factory=list)
    """Probability of that class, in [0, 1]."""
    columns: list[int] = field(default_factory=list)
    """Classes that `outputs` has a column for, ten at most."""
    outputs: list[list[float]] = field(default_factory=list)
    """softmax of the outputs of the first ten samples, those of the proofs."""
    confused: list[int] = field(default_factory=list)
    """Classes of the rows and columns of `confusion`; -1 for all others together."""
    confusion: list[list[int]] = field(default_factory=list)
    """Samples of the selection split by true class (row) and predicted class (column)."""


@dataclass(frozen=True, kw_only=True)
class LayersEvent:
    """How large gradient and update of each layer were at this step, in the order of the network."""

    kind: ClassVar[str] = "layers"
    layers: list[str]
    """A numbered part of the network, or else the module that owns the parameters; 32 at most."""
    gradient: list[float | None]
    """Norm of the gradient behind the clipping; None where the layer had none."""
    ratio: list[float | None]
    """Norm of the update over that of the weights before it; None where the layer had no gradient."""
