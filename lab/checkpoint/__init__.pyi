"""Checkpoints: what one holds, the atomic write, the verified read, the folder that keeps them."""

from .checkpoint import SCHEMA, Checkpoint
from .files import latest_checkpoint, load_checkpoint, save_checkpoint
from .folder import examine_checkpoints, list_checkpoints, prune_checkpoints
from .head import CheckpointFile

__all__ = [
    "SCHEMA",
    "Checkpoint",
    "CheckpointFile",
    "examine_checkpoints",
    "latest_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "prune_checkpoints",
    "save_checkpoint",
]
