"""Widths that a trace finds where no tensor has them, and reasons that come late."""

import gc
import weakref

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import Prune, Widen, apply, trace, verify
from lab.morph.trace import Traces


@pytest.mark.parametrize(
    "norm",
    [
        nn.InstanceNorm2d(6),
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        nn.GroupNorm(3, 6, affine=False),
        nn.BatchNorm2d(6, affine=False, track_running_stats=False),
    ],
    ids=str,
)
def test_a_normalisation_repeats_the_size_that_it_normalises(norm):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 2, 6), nn.Flatten()).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    report = apply(Widen("0", 8).plan(model, x), model)
    assert (norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features) == 8
    assert verify(report, x) <= 1e-10
    model.train()(x).sum().backward()


def test_a_layer_normalisation_without_weights_repeats_its_size():
    model = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6, elementwise_affine=False), nn.Tanh(), nn.Linear(6, 2))
    plan = Widen("0", 12).plan(model, torch.randn(4, 3))
    apply(plan, model)
    assert plan.max_difference <= 1e-10
    assert model[1].normalized_shape == (12,)


def test_tokens_of_a_concatenation_laid_end_to_end_are_fixed_for_that_reason():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.whole = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1)
            self.head = nn.Linear(16 * 6, 2)

        def forward(self, x):
            y = self.whole(x)
            tokens = self.head(y.flatten(2).transpose(1, 2).flatten(1))
            joined = y + torch.cat([self.one(x), self.two(x)], 1)
            return tokens + joined.amax((1, 2, 3)).unsqueeze(1)

    for op in (Widen("one", 4), Prune("one", 1), Prune("two", 2)):
        with pytest.raises(MorphError, match="a reshape repeats a concatenation"):
            op.plan(Late(), torch.randn(4, 3, 4, 4))


@pytest.mark.parametrize(
    "middle",
    [
        nn.LogSigmoid(),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bicubic"),
        nn.ReplicationPad2d(1),
        nn.AdaptiveMaxPool2d(2),
    ],
    ids=str,
)
def test_what_works_on_each_channel_alone_keeps_its_width(middle):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), middle, nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert Widen("0", 8).plan(model, torch.randn(4, 3, 8, 8)).max_difference <= 1e-10


@pytest.mark.parametrize(
    "middle",
    [nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="linear"), nn.ReflectionPad1d(1), nn.MaxPool1d(2)],
    ids=str,
)
def test_the_same_on_sequences(middle):
    model = nn.Sequential(nn.Conv1d(3, 6, 3), middle, nn.Conv1d(6, 4, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    assert Widen("0", 8).plan(model, torch.randn(4, 3, 8)).max_difference <= 1e-10


@pytest.fixture
def traced(monkeypatch):
    """Models that were traced, in order."""
    models, real = [], trace.trace_widths

    def counted(model, example):
        models.append(model)
        return real(model, example)

    monkeypatch.setattr(trace, "trace_widths", counted)
    return models


def test_changes_that_share_a_trace_are_those_that_each_makes_alone(traced, specimen, images):
    ops = Widen("features.conv1", 48), Widen("features.conv2", 80), Prune("features.conv3", 8)
    alone = [op.plan(specimen, images, traces=Traces()) for op in ops]
    assert len(traced) == 3
    shared = Traces()
    assert [op.plan(specimen, images, traces=shared) for op in ops] == alone
    assert len(traced) == 4


def test_plans_of_one_model_share_a_trace_until_it_changes(traced, specimen, images):
    plans = [Prune("features.conv2", keep).plan(specimen, images) for keep in (4, 5, 6)]
    assert len(traced) == 1
    with torch.no_grad():
        specimen.features.conv2.weight.mul_(2.0)
    assert Prune("features.conv2", 4).plan(specimen, images).max_difference != plans[0].max_difference
    assert len(traced) == 1
    apply(plans[0], specimen)
    Prune("features.conv2", 3).plan(specimen, images)
    assert len(traced) == 2


def test_a_trace_goes_with_its_model(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    Widen("0", 8).plan(model, images)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_repaired_forward_is_followed_again(images):
    class Counting(nn.Module):
        broken = True

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))

        def forward(self, x):
            return self.layers(x) if not Counting.broken or x.sum() > 0 else x

    model = Counting()
    with pytest.raises(MorphError, match="traced without values"):
        Widen("layers.0", 8).plan(model, images)
    Counting.broken = False
    assert Widen("layers.0", 8).plan(model, images).max_difference <= 1e-10


def test_another_structure_or_other_shapes_are_traced_anew(traced, specimen, images):
    shared = Traces()
    apply(Widen("features.conv1", 48).plan(specimen, images, traces=shared), specimen)
    plan = Widen("features.conv2", 80).plan(specimen, images, traces=shared)
    assert plan.max_difference <= 1e-10
    assert len(traced) == 2
    Widen("features.conv2", 80).check_steps(specimen, images[:2], traces=shared)
    assert len(traced) == 3


def test_a_forward_that_cannot_be_followed_is_followed_once(traced):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            y = self.layer(x)
            return y if y.sum() > 0 else -y

    model, shared, said = Branching(), Traces(), []
    for width in (5, 6):
        with pytest.raises(MorphError, match="traced without values") as raised:
            Widen("layer", width).plan(model, torch.randn(4, 3), traces=shared)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert len(traced) == 1
