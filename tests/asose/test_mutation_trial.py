"""A cell on trial against an unchanged control copy, inside a run."""

import importlib
import math
from dataclasses import replace

import pytest
import torch

from lab.asose.mutation_trial import FIRST_EPOCH, MutationTrials
from lab.nn import train_mode
from lab.probe import ProofSamples
from lab.runs import Run, build
from lab.space import Edge
from lab.state import clone_state, state_digest
from lab.store import RunReader
from lab.train import Criterion, Split, StepOptions
from lab.trial import TrialConfig

EVERY = TrialConfig(steps=4, looks=1, least_effect=1e6, share=1.0, reading_share=1.0)
"""So short that it says nothing, and so lenient that it is always made."""
trial_module = importlib.import_module("lab.trial.trial")


@pytest.fixture
def parts(make_config):
    """A run whose live network has trained for an epoch."""
    found = build(make_config({"prior": "scores", "prior_evaluations": 25, "warmup_epochs": 0}))
    strategy = found.strategy
    strategy.begin_epoch(0, 0, found.data)
    for x_BCHW, y_B in found.data.batches(Split.TRAIN, 0):
        strategy.step(x_BCHW, y_B)
    return found


def trials_of(strategy, config=EVERY):
    trials = MutationTrials(strategy.live, config, options=StepOptions(), grad_clip=5.0, seed=0)
    trials.ledger.planned = 1e15
    return trials


def run_trial(trials, parts, target):
    proof = ProofSamples()
    proof.take(parts.data.selection)
    return trials.run(
        target,
        epoch=1,
        data=parts.data,
        own_step=parts.strategy.weight_step,
        criterion=Criterion(),
        remaining=math.inf,
        proof=proof,
    )


def neighbour(strategy):
    genotype = strategy.live.child.genotype
    edge = Edge("cell", 2, 0)
    present = genotype.primitives[genotype.space.edges.index(edge)]
    names = [name for name in genotype.space.choosable if name not in (present, "none")]
    return genotype.replace(edge, names[0])


def test_without_a_gain_the_network_has_the_bits_of_plain_training(parts):
    strategy = parts.strategy
    before = clone_state({"live": strategy.live.state_dict(), "step": strategy.weight_step.state_dict()})
    old = strategy.live.child.genotype
    trials = trials_of(strategy)
    tried = run_trial(trials, parts, neighbour(strategy))
    assert tried.result.made
    assert tried.result.verdict != "better"
    assert 0.0 <= tried.difference <= 1e-5
    before_PK, after_PK = tried.asked
    assert before_PK.shape == (10, 10)
    assert float((after_PK - before_PK).abs().max()) <= 1e-5 * float(before_PK.abs().max())
    assert strategy.live.child.genotype == old
    after = state_digest(strategy.live.state_dict())
    strategy.live.load_state_dict(clone_state(before["live"]))
    strategy.weight_step.load_state_dict(clone_state(before["step"]))
    epoch = FIRST_EPOCH + 1_000 * trials.number * EVERY.orders
    batches = parts.data.batches(Split.TRAIN, epoch)
    for _, (x_BCHW, y_B) in zip(range(EVERY.steps), batches, strict=False):
        train_mode(strategy.live.child)
        strategy.weight_step(strategy.live.child, x_BCHW, y_B)
    assert state_digest(strategy.live.state_dict()) == after


def test_a_better_cell_is_taken_with_the_weights_that_it_was_judged_by(parts, monkeypatch):
    strategy = parts.strategy
    target = neighbour(strategy)
    judge = trial_module.estimate
    monkeypatch.setattr(
        trial_module, "estimate", lambda *losses, **how: replace(judge(*losses, **how), mean=-1.0, low=-2.0, high=-0.5)
    )
    tried = run_trial(trials_of(strategy), parts, target)
    assert tried.result.verdict == "better"
    child = strategy.live.child
    assert child.genotype == target
    assert not child.transitions
    # What it computes now is what the copy computed: it goes on in training without a step in between.
    own = {id(p) for p in strategy.live.optimizer.param_groups[0]["params"]}
    assert all(id(p) in own for p in child.parameters())
    x_BCHW, y_B = next(iter(parts.data.batches(Split.TRAIN, 1)))
    strategy.weight_step(child, x_BCHW, y_B)
    assert all(torch.isfinite(p).all() for p in child.parameters())


def test_a_run_tells_what_its_trials_said(make_config, tmp_path):
    search = {
        **{"prior": "scores", "prior_evaluations": 25, "warmup_epochs": 0, "mutation_test": "trial"},
        **{"trial_steps": 4, "trial_share": 1.0, "total_cycles": 3},
    }
    run = Run(make_config(search), save_dir=tmp_path, name="run")
    report = run.execute()
    assert run.parts.strategy.controller.trials.ledger.config.steps == 4
    reader = RunReader(tmp_path / "run")
    texts = [e.payload["text"] for e in reader.events(kinds=("alert",)).events if e.payload["title"] == "No trial"]
    # Of 45 held-out images: what they could show is too little, or reading them costs too much; the lab says which.
    assert len(texts) == 2
    assert all("held-out samples show a difference of" in text or "reading it costs" in text for text in texts), texts
    assert report.network["mutations"] == {"applied": 0, "accepted": 0, "rejected": 0}


def test_trials_that_may_cost_nothing_are_not_made(make_config, tmp_path):
    search = {
        "prior": "scores",
        "prior_evaluations": 25,
        "warmup_epochs": 0,
        "mutation_test": "trial",
        "trial_share": 0.0,
    }
    run = Run(make_config(search), save_dir=tmp_path, name="run")
    run.execute()
    assert run.parts.strategy.controller.trials.ledger.spent == 0.0
