"""Networks that can be searched and changed: primitives, cells, the supernet, the evolvable child."""

from lab.nn.blend import Blend
from lab.nn.cell import Backbone, Cell
from lab.nn.darts import DARTSBackbone, DARTSCell
from lab.nn.darts_primitives import DARTS_PRIMITIVES, FactorizedReduce
from lab.nn.evolvable import EvolvableNetwork
from lab.nn.families import FAMILIES, Family, family, make_primitive
from lab.nn.flops import FlopCount, count_flops, measure_flops
from lab.nn.modes import eval_mode, plain_attention, train_mode
from lab.nn.primitives import NB201_PRIMITIVES, Absent, AveragePool, ConvNorm, Skip, Zero
from lab.nn.sample import Sample
from lab.nn.seed_cnn import SeedCNN, seed_cnn
from lab.nn.share import share
from lab.nn.stages import STAGES, StageBackbone, StageCell, staged
from lab.nn.statistics import STATISTICS_BATCHES, estimate_statistics, norm_layers
from lab.nn.supernet import MixedEdge, SuperNet

__all__ = [
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
    "Sample",
    "SeedCNN",
    "Skip",
    "StageBackbone",
    "StageCell",
    "SuperNet",
    "Zero",
    "count_flops",
    "estimate_statistics",
    "eval_mode",
    "family",
    "make_primitive",
    "measure_flops",
    "norm_layers",
    "plain_attention",
    "seed_cnn",
    "share",
    "staged",
    "train_mode",
]
