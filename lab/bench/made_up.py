"""`MadeUpRun`: a run of any length through the real writer, its numbers made up and labelled as synthetic."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.space import NB201, Genotype, sample
from lab.store import GenotypeEvent, MutationEvent, PhaseEvent, RunWriter

NAMES = ("loss", "accuracy", "grad_norm", "lr", "health", "temperature", "beta", "throughput", "memory/rss")
"""Scalars of each step; the selection split's come with each genotype."""
CONFIG = {"dataset_title": "made up", "synthetic": True, "recipe": "aso-se"}


@dataclass
class MadeUpRun:
    """What a search writes: scalars at each step, and now and then a mutation with the genotype that it led to."""

    writer: RunWriter
    seed: int = 0
    step: int = 0
    """The next one."""
    scalars: int = 0
    """Written so far."""
    mutations: int = 0
    _draw: random.Random = field(init=False)
    _genotype: Genotype = field(init=False)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._genotype = sample(NB201, self._draw)
        self.writer.record(0, PhaseEvent(phase="weight_retraining", epoch=0, epochs=1, cycle=0))

    def write_step(self) -> None:
        """Write the scalars of one step."""
        values = {name: self._draw.random() + 2.0 / (1.0 + self.step / 1000.0) for name in NAMES}
        self.writer.scalars(self.step, values)
        self.step += 1
        self.scalars += len(values)

    def mutate(self) -> None:
        """Write a mutation, its genotype and what the selection split says, at the latest step."""
        step = max(0, self.step - 1)
        changed = sample(NB201, self._draw)
        self.mutations += 1
        self.writer.record(step, _mutation(self.mutations, self._genotype, changed))
        self.writer.record(step, _snapshot(changed, self._draw))
        values = {"decision/loss": self._draw.random(), "decision/accuracy": self._draw.random()}
        self.writer.scalars(step, values)
        self._genotype = changed
        self.scalars += len(values)

    def write(self, scalars: int, genotypes: int) -> None:
        """Write about so many scalars, with so many mutations spread evenly over them."""
        steps = max(1, scalars // len(NAMES))
        every = max(1, steps // genotypes)
        for number in range(steps):
            self.write_step()
            if number % every == 0 and self.mutations < genotypes:
                self.mutate()

    @contextmanager
    def going_on(self, rate: float, mutation_seconds: float = 0.0) -> Iterator[None]:
        """Go on writing in a thread of its own while the block runs.

        Args:
            rate: steps a second, > 0.
            mutation_seconds: between two mutations; 0 for none.
        """
        stop = threading.Event()
        every = round(rate * mutation_seconds)

        def write() -> None:
            number = 0
            while not stop.wait(1.0 / rate):
                number += 1
                self.write_step()
                if every and number % every == 0:
                    self.mutate()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _mutation(number: int, old: Genotype, new: Genotype) -> MutationEvent:
    return MutationEvent(
        number=number,
        status="applied",
        old=old.to_json(),
        new=new.to_json(),
        edits=[[*edit.edge, edit.old, edit.new] for edit in old.diff(new)],
        difference=2e-7,
        requested="schedule",
        reason="made up for a measurement",
    )


def _snapshot(genotype: Genotype, draw: random.Random) -> GenotypeEvent:
    shares = [[draw.random() for _ in NB201.primitives] for _ in NB201.edges]
    return GenotypeEvent(
        genotype=genotype.to_json(),
        argmax_genotype=genotype.to_json(),
        edges=[list(edge) for edge in NB201.edges],
        primitives=list(NB201.primitives),
        probabilities=[[share / sum(row) for share in row] for row in shares],
        entropy=[1.2] * len(NB201.edges),
        skip_share=0.0,
        dominance=0.3,
        reason="mutation",
    )
