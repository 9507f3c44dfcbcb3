"""`SearchProblem`: the data and the networks that cells of a space stand for.

B batch, C channels, H height, W width.
"""

import math
import time
from collections.abc import Mapping

from torch import Tensor, nn

from lab.base import DataError, derive_seed
from lab.datasets import open_streams
from lab.explore import SCORES, log_synflow, naswot, skip_length
from lab.nn import EvolvableNetwork, measure_flops, sized_cnn
from lab.search.config import SEARCH_SPACES, SearchConfig
from lab.search.training import train_alone, weight_optimizer, weight_step
from lab.space import SIZES, Genotype
from lab.state import preserved_rng
from lab.train import Split, StreamData

USUAL_SIZE = ("32x1", "64x1", "128x1")
"""`small_cnn`, whose FLOPs limit the space sizes where no other limit is given."""
IN_PLACE = {"naswot": naswot, "log_synflow": log_synflow}
"""Scores that need no copy of a network that nobody wants afterwards: copies took half of the time of all scores."""
SCORED = (*(name for name in SCORES if name not in IN_PLACE), *IN_PLACE)
"""In this order: naswot changes averages and modes alone, log_synflow loses the weights."""
TIMED_STEPS = 10
EPOCHS_APART = 100_000
"""Between the first epochs of two trainings: more than any of them has."""


class SearchProblem:
    """What a search compares: fresh networks, their scores, and their short trainings.

    Everything is a function of the configuration and of the names that are given.

    Args:
        config: data, space and sizes.

    Raises:
        DataError: the data cannot be read, or are not square where the space needs it.
    """

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        self.space = SEARCH_SPACES[config.space]
        self.data = StreamData(open_streams(config.data, batch_size=config.batch_size))
        bundle = self.data.streams.bundle
        self.title, self.num_classes = bundle.title, bundle.num_classes
        self.in_channels, self.size = bundle.shape[0], bundle.shape[1]
        if self.space == SIZES and bundle.shape[1] != bundle.shape[2]:
            raise DataError(
                "square images for the space sizes", f"{bundle.shape[1]}x{bundle.shape[2]}", "search nb201 instead"
            )
        self._batches: dict[int, Tensor] = {}
        self._flops: dict[Genotype, float] = {}
        self.max_flops = self._limit()

    def _limit(self) -> float:
        if self.config.max_flops is not None:
            return self.config.max_flops
        return self.flops(Genotype(SIZES, USUAL_SIZE)) if self.space == SIZES else math.inf

    def network(self, genotype: Genotype, *names: str | int) -> nn.Module:
        """A fresh network of `genotype`; `names` choose the stream of its initial weights."""
        with preserved_rng(derive_seed(self.config.seed, "search", *names)):
            if self.space == SIZES:
                return sized_cnn(genotype, self.num_classes, self.in_channels, self.size)
            return EvolvableNetwork(
                genotype,
                channels=self.config.channels,
                layers=self.config.layers,
                num_classes=self.num_classes,
                in_channels=self.in_channels,
            )

    def batch(self, repeat: int) -> Tensor:
        """The images (B, C, H, W) of the train split that cells are scored on; another batch for each `repeat`."""
        if repeat not in self._batches:
            self._batches[repeat] = next(iter(self.data.batches(Split.TRAIN, repeat)))[0]
        return self._batches[repeat]

    def scores(self, genotype: Genotype, repeat: int = 0) -> Mapping[str, float]:
        """The configured scores of `genotype`, with weights and a batch of this `repeat`."""
        x_BCHW = self.batch(repeat)
        network = self.network(genotype, "score", repeat, *genotype.indices)
        found = {"skip_length": skip_length(genotype)}
        for name in sorted(set(self.config.scores) - found.keys(), key=SCORED.index):
            if name in IN_PLACE:
                found[name] = IN_PLACE[name](network, x_BCHW, in_place=True)
            else:
                found[name] = SCORES[name](network, x_BCHW)
        return {name: found[name] for name in self.config.scores}

    def flops(self, genotype: Genotype) -> float:
        """FLOPs of one forward of `genotype` for one sample; each cell is counted once."""
        if genotype not in self._flops:
            # A fresh network needs none of the copies and kept streams of `SCORES["flops"]`.
            network = self.network(genotype, "size")
            self._flops[genotype] = float(measure_flops(network, self.batch(0)[:1]))
        return self._flops[genotype]

    def allowed(self, genotype: Genotype) -> bool:
        """Whether the network keeps the limit of FLOPs."""
        return math.isinf(self.max_flops) or self.flops(genotype) <= self.max_flops

    def loss(self, genotype: Genotype, *, epochs: int, repeat: int) -> float:
        """Loss on the selection split after `epochs` of training with weights and batches of this `repeat`, nats."""
        network = self.network(genotype, "train", epochs, repeat, *genotype.indices)
        with preserved_rng(derive_seed(self.config.seed, "search", "train", repeat)):
            found = train_alone(
                network,
                self.data,
                epochs=epochs,
                weight_lr=self.config.weight_lr,
                first_epoch=EPOCHS_APART * (1 + repeat),
            )
        assert found is not None
        # A loss that is not finite is worse than any guess.
        return found.loss if math.isfinite(found.loss) else 10 * math.log(self.num_classes)

    def epoch_seconds(self, genotype: Genotype) -> float:
        """CPU seconds of one epoch of training `genotype`, judged by `TIMED_STEPS` steps."""
        network = self.network(genotype, "time")
        optimizer = weight_optimizer(network, self.config.weight_lr)
        batches = list(zip(range(TIMED_STEPS + 1), self.data.batches(Split.TRAIN, 0), strict=False))
        began = time.process_time()
        for number, batch in batches:
            if number == 1:
                # The first step also makes what later ones reuse.
                began = time.process_time()
            weight_step(network, optimizer, *batch)
        counted = max(len(batches) - 1, 1)
        return (time.process_time() - began) / counted * self.data.length(Split.TRAIN)
