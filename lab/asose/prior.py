"""What the search believes of cells before anything is trained: scores of small untrained networks on one batch.

B batch, C channels, H height, W width.
"""

from collections.abc import Mapping

from torch import Tensor

from lab.base import derive_seed
from lab.explore import Prior, ScoreSearch, log_synflow, naswot, skip_length
from lab.nn import EvolvableNetwork
from lab.space import Genotype, Space
from lab.state import preserved_rng
from lab.train import EpochData

CHANNELS = 8
"""Of the networks that are scored: the ranking of cells hardly depends on it, the time does."""
LAYERS = 3
"""Cells of the networks that are scored, one in each stage."""


IMAGES = 32
"""Images that the networks are scored on."""


def scored_images(data: EpochData) -> Tensor:
    """The images (B, C, H, W) that a prior is found on: fixed ones without labels, so that no stream moves."""
    x_BCHW: Tensor = next(iter(data.selection()))[0]
    return x_BCHW[:IMAGES]


def find_prior(space: Space, x_BCHW: Tensor, *, num_classes: int, seed: int, evaluations: int) -> Prior:
    """Search `space` by regularised evolution on scores that train nothing; every random stream is as before.

    Args:
        space: of the cells.
        x_BCHW: a batch of training images, on any device.
        num_classes: N >= 2.
        seed: run seed.
        evaluations: cells that are looked at, >= 1.
    """
    x_BCHW = x_BCHW.cpu()

    def measure(genotype: Genotype) -> Mapping[str, float]:
        with preserved_rng(derive_seed(seed, "prior", *genotype.indices)):
            network = EvolvableNetwork(
                genotype, channels=CHANNELS, layers=LAYERS, num_classes=num_classes, in_channels=x_BCHW.shape[1]
            )
        # In this order: the second score loses the weights.
        found = {"naswot": naswot(network, x_BCHW, in_place=True)}
        found["log_synflow"] = log_synflow(network, x_BCHW, in_place=True)
        return {**found, "skip_length": skip_length(genotype)}

    return ScoreSearch(space, measure, seed=derive_seed(seed, "prior")).run(evaluations)
