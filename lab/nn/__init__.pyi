"""Networks that can be searched and changed: primitives, cells, the supernet, the evolvable child."""

from .baselines import BASELINES, channels_for, parse_cell, six_convolutions
from .batchnorm import STATISTICS_BATCHES, norm_layers, recalibrate_batchnorm
from .cell import STAGES, Backbone, Cell, StageBackbone, StageCell, staged
from .darts import DARTSBackbone, DARTSCell
from .darts_primitives import DARTS_PRIMITIVES, FactorizedReduce
from .evolvable import EvolvableNetwork, OpSource
from .families import FAMILIES, Family, family, make_primitive
from .flops import FlopCount, count_flops, measure_flops
from .interpolated_op import InterpolatedOp
from .modes import eval_mode, plain_attention, plain_recurrence, preserved_modes, train_mode
from .primitives import NB201_PRIMITIVES, AveragePool, ConvNorm, Skip, Zero
from .sample import Sample
from .sharing import copy_sharing_parameters
from .sized_cnn import SizedCNN, sized_cnn
from .small_cnn import SmallCNN, seed_cnn, small_cnn
from .supernet import MixedEdge, SuperNet

__all__ = [
    "BASELINES",
    "DARTS_PRIMITIVES",
    "FAMILIES",
    "NB201_PRIMITIVES",
    "STAGES",
    "STATISTICS_BATCHES",
    "AveragePool",
    "Backbone",
    "Cell",
    "ConvNorm",
    "DARTSBackbone",
    "DARTSCell",
    "EvolvableNetwork",
    "FactorizedReduce",
    "Family",
    "FlopCount",
    "InterpolatedOp",
    "MixedEdge",
    "OpSource",
    "Sample",
    "SizedCNN",
    "Skip",
    "SmallCNN",
    "StageBackbone",
    "StageCell",
    "SuperNet",
    "Zero",
    "channels_for",
    "copy_sharing_parameters",
    "count_flops",
    "eval_mode",
    "family",
    "make_primitive",
    "measure_flops",
    "norm_layers",
    "parse_cell",
    "plain_attention",
    "plain_recurrence",
    "preserved_modes",
    "recalibrate_batchnorm",
    "seed_cnn",
    "six_convolutions",
    "sized_cnn",
    "small_cnn",
    "staged",
    "train_mode",
]
