import math

import pytest
import torch
from torch import nn

from lab.train import compare, evaluate


def test_evaluation_is_in_eval_mode_and_leaves_no_trace():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = torch.randn(10, 4), torch.randint(0, 3, (10,))
    parts = evaluate(model, iter([(x[:4], y[:4]), (x[4:], y[4:])]))
    whole = evaluate(model, iter([(x, y)]))
    assert parts.loss == pytest.approx(whole.loss)
    assert parts.accuracy == whole.accuracy
    assert model.training
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())


def test_a_clear_rise_is_worse_and_noise_is_not():
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(200, generator=generator)
    noise = torch.randn(200, generator=generator) * 0.1
    assert compare(before, before + 0.05 + noise).worse(1.64)
    assert not compare(before, before + noise - noise.mean()).worse(1.64)
    assert not compare(before, before - 0.05 + noise).worse(1.64)
    assert compare(before, before + math.nan).worse(1.64)
