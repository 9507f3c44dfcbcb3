"""What a network says of the same few samples throughout a run, and how much each of its layers moves in a step."""

from .layers import LayerProbe, layer_name
from .outputs import outputs, relative_difference
from .pictures import encode_images
from .predictions import PredictionReader
from .proof import ProofSamples
from .samples import CANDIDATES, PROVEN, SHOWN, fixed_positions

__all__ = [
    "CANDIDATES",
    "PROVEN",
    "SHOWN",
    "LayerProbe",
    "PredictionReader",
    "ProofSamples",
    "encode_images",
    "fixed_positions",
    "layer_name",
    "outputs",
    "relative_difference",
]
