"""Networks that can be searched and changed: primitives, cells, the supernet, the evolvable child."""

from .baselines import BASELINES, channels_for, parse_cell, six_convolutions
from .blend import Blend
from .cell import Backbone, Cell
from .darts import DARTSBackbone, DARTSCell
from .darts_primitives import DARTS_PRIMITIVES, FactorizedReduce
from .evolvable import EvolvableNetwork, OpSource
from .families import FAMILIES, Family, family, make_primitive
from .flops import FlopCount, count_flops, measure_flops
from .modes import eval_mode, plain_attention, train_mode
from .primitives import NB201_PRIMITIVES, Absent, AveragePool, ConvNorm, Skip, Zero
from .sample import Sample
from .seed_cnn import SeedCNN, seed_cnn
from .share import share
from .stages import STAGES, StageBackbone, StageCell, staged
from .statistics import STATISTICS_BATCHES, estimate_statistics, norm_layers
from .supernet import MixedEdge, SuperNet

__all__ = [
    "BASELINES",
    "DARTS_PRIMITIVES",
    "FAMILIES",
    "NB201_PRIMITIVES",
    "STAGES",
    "STATISTICS_BATCHES",
    "Absent",
    "AveragePool",
    "Backbone",
    "Blend",
    "Cell",
    "ConvNorm",
    "DARTSBackbone",
    "DARTSCell",
    "EvolvableNetwork",
    "FactorizedReduce",
    "Family",
    "FlopCount",
    "MixedEdge",
    "OpSource",
    "Sample",
    "SeedCNN",
    "Skip",
    "StageBackbone",
    "StageCell",
    "SuperNet",
    "Zero",
    "channels_for",
    "count_flops",
    "estimate_statistics",
    "eval_mode",
    "family",
    "make_primitive",
    "measure_flops",
    "norm_layers",
    "parse_cell",
    "plain_attention",
    "seed_cnn",
    "share",
    "six_convolutions",
    "staged",
    "train_mode",
]
