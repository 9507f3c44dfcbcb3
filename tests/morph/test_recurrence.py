"""LSTM, GRU and RNN: one width in all layers and directions, and the list of weights beside the registry."""

import pytest
import torch
from torch import nn

from lab.morph import Prune, Widen, apply, rollback

X = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1))


class Tagger(nn.Module):
    """A recurrence over tokens and a layer that reads what it gives."""

    def __init__(self, kind, width, **options):
        super().__init__()
        self.stem, self.rnn, self.out = nn.Linear(6, 6), kind(6, 8, batch_first=True, **options), nn.Linear(width, 3)

    def forward(self, x):
        return self.out(self.rnn(self.stem(x))[0])


class Cell(nn.Module):
    """Two steps of a cell."""

    def __init__(self, kind):
        super().__init__()
        self.rnn, self.out = kind(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.rnn(x[:, 1], self.rnn(x[:, 0]))
        return self.out(h[0] if isinstance(h, tuple) else h)


KINDS = {
    "LSTM": lambda: Tagger(nn.LSTM, 16, num_layers=2, bidirectional=True),
    "LSTM with projection": lambda: Tagger(nn.LSTM, 4, proj_size=4),
    "GRU": lambda: Tagger(nn.GRU, 8),
    "RNN": lambda: Tagger(nn.RNN, 8, nonlinearity="relu"),
    "LSTMCell": lambda: Cell(nn.LSTMCell),
    "GRUCell": lambda: Cell(nn.GRUCell),
}


def step(model, optimizer):
    optimizer.zero_grad()
    model(X).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_a_recurrence_are_widened_pruned_and_put_back(kind):
    torch.manual_seed(0)
    model = KINDS[kind]()
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer)
    before, kept = model(X).detach(), {name: value.clone() for name, value in model.state_dict().items()}
    size = getattr(model.rnn, "proj_size", 0) or 8
    report = apply(Widen("rnn", size + 3).plan(model, X), model, optimizer)
    assert report.max_difference <= 1e-10
    assert (getattr(model.rnn, "proj_size", 0) or model.rnn.hidden_size) == size + 3
    assert torch.allclose(model(X), before, atol=1e-6)
    step(model, optimizer)
    assert not torch.equal(model(X), before), "what trains is what the forward reads"
    rollback(report)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(X), before)
    apply(Prune("rnn", 3).plan(model, X), model, optimizer)
    step(model, optimizer)
    assert (getattr(model.rnn, "proj_size", 0) or model.rnn.hidden_size) == 3


def test_what_a_recurrence_reads_is_widened():
    model = KINDS["LSTM"]().double()
    x = X.double()
    before = model(x).detach()
    apply(Widen("stem", 9).plan(model, x), model)
    assert model.rnn.input_size == 9
    assert torch.allclose(model(x), before, rtol=1e-10)
