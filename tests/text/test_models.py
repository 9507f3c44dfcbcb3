"""Text models on an encoder that is one table of vectors: what each output is, computed by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.text import (
    POOLINGS,
    ClassificationHead,
    CriteriaModel,
    EvidenceModel,
    JointModel,
    Pooling,
    SharedModel,
    SpanHead,
)

WIDTH = 6


class Table(nn.Module):
    """An encoder whose output of a token is a vector of its own, times its position."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=WIDTH)
        self.vectors = nn.Embedding(20, WIDTH)
        self.calls = 0

    def forward(self, input_ids, attention_mask):
        self.calls += 1
        places = torch.arange(1, input_ids.shape[1] + 1).view(1, -1, 1)
        return SimpleNamespace(last_hidden_state=self.vectors(input_ids) * places)


@pytest.fixture
def x():
    """Two sentences, of 4 tokens and of 2."""
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    return torch.stack([ids, (ids > 0).long()], 1)


def padded(x_B2L):
    """The same sentences with three more places of padding."""
    return torch.cat([x_B2L, torch.zeros(*x_B2L.shape[:2], 3, dtype=torch.int64)], 2)


def models(pooling="mean"):
    torch.manual_seed(0)
    head = ClassificationHead(WIDTH, 3, layers=2, dim=5)
    first, second = Table(), Table()
    found = {
        "criteria": CriteriaModel(first, Pooling(pooling, WIDTH), head),
        "evidence": EvidenceModel(first, SpanHead(WIDTH)),
        "share": SharedModel(first, Pooling(pooling, WIDTH), head, SpanHead(WIDTH)),
        "joint": JointModel(first, second, Pooling(pooling, WIDTH), head, SpanHead(WIDTH)),
    }
    return {name: model.eval() for name, model in found.items()}


def outputs(found):
    return list(found.values()) if isinstance(found, dict) else [found]


@pytest.mark.parametrize("task", ["criteria", "evidence", "share", "joint"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_no_output(x, task, pooling):
    model = models(pooling)[task]
    for before, after in zip(outputs(model(x)), outputs(model(padded(x))), strict=True):
        after = after[..., : before.shape[-1]] if before.dim() == 3 else after
        torch.testing.assert_close(after, before)
    for found in outputs(model(padded(x))):
        assert found.dim() == 2 or found[:, :, 4:].max() < -1e30


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pooling_is_what_its_name_says(x, pooling):
    states, pool = Table()(x[:, 0], x[:, 1]).last_hidden_state, Pooling(pooling, WIDTH)
    found = pool(states, x[:, 1])
    for row, length in ((0, 4), (1, 2)):
        own = states[row, :length]
        wanted = {"cls": own[0], "mean": own.mean(0), "max": own.amax(0)}.get(pooling)
        if wanted is None:
            wanted = (own @ pool.score.weight[0]).softmax(0) @ own
        torch.testing.assert_close(found[row], wanted)


def test_one_encoder_is_shared_and_two_are_fused(x):
    found = models()
    share, joint = found["share"], found["joint"]
    share.encoder.calls = joint.second.calls = 0
    share(x)
    assert share.encoder.calls == 1
    before = joint(x)
    joint.second.vectors.weight.data.mul_(2)
    after = joint(x)
    # Through the fusion the class depends on the encoder of the span as well.
    assert not torch.equal(after["criteria"], before["criteria"])
    assert not torch.equal(after["evidence"], before["evidence"])


@pytest.mark.parametrize("task", ["criteria", "evidence", "share", "joint"])
def test_every_weight_has_a_gradient(x, task):
    model = models("attention")[task]
    sum(found[..., :2].square().sum() for found in outputs(model(x))).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_a_pooling_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match="pooling to be one of"):
        Pooling("last", WIDTH)
    with pytest.raises(ConfigError, match="classes >= 2"):
        ClassificationHead(WIDTH, 1)
