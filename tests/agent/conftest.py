"""A small network, data that it can learn, and an agent over both."""

import pytest
import torch
from torch import nn

from lab.agent import DynamicArchitecture
from lab.nn import small_cnn


def make_data(samples=256, size=16, classes=4, seed=0):
    """Images whose class is the quadrant that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    images = torch.randn(samples, 3, size, size, generator=generator)
    half = size // 2
    for row, label in enumerate(labels.tolist()):
        top, left = half * (label // 2), half * (label % 2)
        images[row, :, top : top + half, left : left + half] += 1.0
    return images, labels


def in_batches(images, labels, length=32):
    return list(zip(images.split(length), labels.split(length), strict=True))


@pytest.fixture
def data():
    """Training and held-out batches."""
    return in_batches(*make_data()), in_batches(*make_data(128, seed=1))


@pytest.fixture
def make_network():
    def make(channels=4, seed=0):
        torch.manual_seed(seed)
        return small_cnn(num_classes=4, size=16, channels=channels)

    return make


@pytest.fixture
def make_agent(make_network, data):
    """An agent over a fresh network that trains; options go to DynamicArchitecture."""

    def make(model: nn.Module | None = None, *, probe_steps=2, seed=0, **options):
        model = make_network() if model is None else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return DynamicArchitecture(
            model, optimizer=optimizer, train_loader=data[0], probe_steps=probe_steps, seed=seed, **options
        )

    return make
