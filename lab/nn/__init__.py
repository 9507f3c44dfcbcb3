"""Networks that can be searched and changed: primitives, cells, the supernet, the evolvable child."""

from lab.nn.blend import Blend
from lab.nn.cell import STAGES, Backbone, Cell
from lab.nn.evolvable import EvolvableNetwork
from lab.nn.modes import eval_mode, train_mode
from lab.nn.primitives import PRIMITIVES, AveragePool, ConvNorm, Skip, Zero, make_primitive
from lab.nn.sample import Sample
from lab.nn.seed_cnn import SeedCNN, seed_cnn
from lab.nn.share import share
from lab.nn.statistics import STATISTICS_BATCHES, estimate_statistics, norm_layers
from lab.nn.supernet import MixedEdge, SuperNet

__all__ = [
    "PRIMITIVES",
    "STAGES",
    "STATISTICS_BATCHES",
    "AveragePool",
    "Backbone",
    "Blend",
    "Cell",
    "ConvNorm",
    "EvolvableNetwork",
    "MixedEdge",
    "Sample",
    "SeedCNN",
    "Skip",
    "SuperNet",
    "Zero",
    "estimate_statistics",
    "eval_mode",
    "make_primitive",
    "norm_layers",
    "seed_cnn",
    "share",
    "train_mode",
]
