"""What a training step depends on: random streams, snapshots, nested state, digests."""

from .digest import state_digest, structure_digest, weight_digest
from .rng import random_streams, restore_streams
from .snapshot import ModelSnapshot, OptimizerSnapshot, RandomSnapshot, seeded
from .trees import clone_tree

__all__ = [
    "ModelSnapshot",
    "OptimizerSnapshot",
    "RandomSnapshot",
    "clone_tree",
    "random_streams",
    "restore_streams",
    "seeded",
    "state_digest",
    "structure_digest",
    "weight_digest",
]
