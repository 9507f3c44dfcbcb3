"""A small network with BatchNorm and dropout, data that it can learn, and a trial of a change of it."""

import pytest
import torch
from torch import nn

from lab.nn import eval_mode, measure_flops, train_mode
from lab.trial import Arm, Reading, Trial, TrialConfig, TrialLedger, TrialTask

BATCH = 32


class Gated(nn.Module):
    """Features behind a gate, BatchNorm, dropout, classifier: (B, 6) -> logits (B, 3)."""

    def __init__(self, gate=1.0):
        super().__init__()
        self.features = nn.Linear(6, 12)
        self.norm = nn.BatchNorm1d(12)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(12, 3)
        self.register_buffer("gate", torch.tensor(gate))

    def forward(self, x_BD):
        return self.classifier(self.dropout(torch.relu(self.norm(self.features(x_BD)))) * self.gate)


def make_samples(count, seed):
    """Points around three centres."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    centres = torch.eye(3, 6) * 1.5
    return centres[labels] + torch.randn(count, 6, generator=generator), labels


class Training:
    """A run: network, optimizer, batches."""

    def __init__(self, *, seed=0, gate=1.0, adam=False, held_out=1200, device="cpu"):
        torch.manual_seed(seed)
        model = Gated(gate).to(device)
        make = torch.optim.Adam if adam else torch.optim.SGD
        options = {} if adam else {"momentum": 0.9}
        self.seed = seed
        self.device = device
        self.arm = Arm(model=model, optimizer=make(model.parameters(), lr=0.01, **options))
        self.held_out = [tensor.to(device) for tensor in make_samples(held_out, 10_000 + seed)]

    def batch(self, order, number):
        x, y = make_samples(BATCH, 100_000 * (self.seed + 1) + 1000 * order + number)
        return x.to(self.device), y.to(self.device)

    def step(self, arm, batch):
        train_mode(arm.model)
        arm.optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(arm.model(batch[0]), batch[1]).backward()
        arm.optimizer.step()

    @torch.no_grad()
    def read(self, model):
        x, y = self.held_out
        with eval_mode(model):
            logits = model(x)
        losses = nn.functional.cross_entropy(logits, y, reduction="none")
        return Reading(losses_N=losses.double().cpu(), hits_N=(logits.argmax(-1) == y).cpu())

    def task(self, **more):
        return TrialTask(
            step=self.step,
            read=self.read,
            samples=len(self.held_out[1]),
            flops=lambda model: float(measure_flops(model, self.held_out[0][:1])),
            forward=lambda model, batch: model(batch[0]),
            **more,
        )

    def trial(self, change, *, steps=16, planned=1e12, ledger=None, task=None, **config):
        ledger = ledger or TrialLedger(TrialConfig(steps=steps, **{"least_effect": 10.0, **config}), planned)
        return Trial(self.arm, change, task or self.task(), ledger, batch=BATCH, seed=self.seed)

    def batches(self, trial):
        return [self.batch(order, trial.steps) for order in range(trial.config.orders)]

    def finish(self, trial):
        while trial.result is None:
            trial.advance(self.batches(trial))
        return trial.result


@pytest.fixture
def make_training():
    return Training
