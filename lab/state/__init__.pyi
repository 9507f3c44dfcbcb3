"""What a training step depends on: random streams, snapshots, nested state, digests."""

from .digest import state_digest, structure_digest, weight_digest
from .rng import preserved_rng, rng_state, seed_rng, set_rng_state
from .snapshot import ModelSnapshot, OptimizerSnapshot
from .trees import clone_state

__all__ = [
    "ModelSnapshot",
    "OptimizerSnapshot",
    "clone_state",
    "preserved_rng",
    "rng_state",
    "seed_rng",
    "set_rng_state",
    "state_digest",
    "structure_digest",
    "weight_digest",
]
