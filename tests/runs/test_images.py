"""What a run tells beside its training: fixed images, predictions, layers, proofs; and that its bits are the same."""

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from lab.probe import PROVEN, ProofSamples
from lab.runs import build
from lab.runs.images import describe_samples
from lab.state import rng_state, state_digest
from lab.store import ImagesEvent, LayersEvent, MutationEvent, PhaseEvent, PredictionsEvent, ProofEvent
from lab.train import TrainingLoop
from lab.train.journal import LAYERS_EVERY, Journal


def trained(config, sink, *, images=True):
    """A whole run, and the digest of all that it left."""
    parts = build(config)
    loop = TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        sink,
        epochs=config.total_epochs,
        save=lambda reason: None,
        save_every=100,
        images=describe_samples(parts.data) if images else None,
    )
    loop.run()
    return parts, state_digest([parts.strategy.state().tensors, rng_state()])


@pytest.fixture(scope="module")
def short(make_config):
    """A search with an extraction, a growth and a mutation, in four epochs."""
    phases = {"warmup_epochs": 1, "arch_training_epochs": 1, "weight_training_epochs": 1, "growth": "depth"}
    return make_config(phases)


@pytest.fixture(scope="module")
def told(short):
    """The run, its sink and its digest."""
    sink = Told()
    parts, digest = trained(short, sink)
    return parts, sink, digest


class Told:
    """Keeps events with their steps."""

    def __init__(self):
        self.events = []

    def scalars(self, step, values):
        pass

    def record(self, step, record):
        self.events.append((step, record))

    def commands(self):
        return ()

    def of(self, kind):
        return [record for _, record in self.events if isinstance(record, kind)]


def test_the_images_are_told_once_and_come_from_the_selection_split_alone(told):
    parts, sink, _ = told
    (event,) = sink.of(ImagesEvent)
    assert sink.events[0] == (0, event)
    streams = parts.streams
    rows = streams.splits.selection[torch.tensor(event.samples)]
    assert event.labels == streams.bundle.y_train[rows].tolist()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(event.images[7]))))[::4, ::4, 0] / 255
    assert np.abs(shown - streams.bundle.x_train[rows[7], 0].numpy()).max() < 0.01


def test_every_reading_tells_predictions_and_steps_that_train_weights_their_layers(told):
    _, sink, _ = told
    (images,) = sink.of(ImagesEvent)
    readings, layers = sink.of(PredictionsEvent), sink.of(LayersEvent)
    assert readings
    assert all(reading.samples == images.samples for reading in readings)
    begun = {step: event.phase for step, event in sink.events if isinstance(event, PhaseEvent)}
    steps = [step for step, event in sink.events if isinstance(event, LayersEvent)]
    assert steps[0] == 0
    assert all(later - step >= LAYERS_EVERY for step, later in itertools.pairwise(steps))
    # An architecture phase trains no weights.
    assert all(begun[max(at for at in begun if at <= step)] != "arch_training" for step in steps)
    assert all(max(event.gradient, key=lambda norm: norm or 0) > 0 for event in layers)


def test_every_change_is_proven_on_the_same_ten_samples(told):
    _, sink, _ = told
    proofs = sink.of(ProofEvent)
    assert [proof.what for proof in proofs] == ["extraction", "growth", "mutation"]
    (images,) = sink.of(ImagesEvent)
    assert all(proof.samples == images.samples[:PROVEN] for proof in proofs)
    assert all(proof.labels == images.labels[:PROVEN] for proof in proofs)
    assert all(proof.exact and proof.difference <= 1e-5 for proof in proofs)
    assert proofs[-1].number == sink.of(MutationEvent)[-1].number
    assert "->" in proofs[-1].title


def test_a_run_that_tells_all_this_has_the_bits_of_one_that_does_not(told, short, monkeypatch):
    _, sink, digest = told
    monkeypatch.setattr(Journal, "layer_probe", lambda *where: None)
    monkeypatch.setattr(ProofSamples, "take", lambda samples, selection: None)
    monkeypatch.setattr(ProofSamples, "ask", lambda samples, model: torch.zeros(1, 10))
    silent = Told()
    _, bare = trained(short, silent, images=False)
    assert not silent.of(ImagesEvent)
    assert not silent.of(LayersEvent)
    assert bare == digest
    assert sink.of(LayersEvent)
