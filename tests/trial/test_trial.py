"""A trial's answers on changes whose effect is known, its cost, its refusals; the run's own network goes on unmoved."""

from statistics import mean

import pytest
import torch
from torch import nn

from lab.base import TrainingError
from lab.state import clone_state, rng_state, set_rng_state, state_digest
from lab.trial import Trial, TrialConfig, TrialLedger


def nothing(arm):
    pass


def open_gate(arm):
    arm.model.gate.fill_(1.0)


def close_gate(arm):
    arm.model.gate.fill_(0.0)


def nudge(arm):
    """Too little to help or to harm; the training then takes another path."""
    with torch.no_grad():
        for parameter in arm.model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))


def widen_classifier(arm):
    """Another structure: a second head, which the optimizer holds as well."""
    arm.model.more = nn.Linear(12, 3)
    arm.optimizer.add_param_group({"params": list(arm.model.more.parameters())})


def digest(arm):
    named = {"model": arm.model.state_dict(), "optimizer": arm.optimizer.state_dict()}
    return state_digest({**named, "random": torch.get_rng_state()})


def test_a_change_that_helps_is_better_and_one_that_harms_is_worse(make_training):
    shut = make_training(gate=0.0)
    result = shut.finish(shut.trial(open_gate, steps=64))
    assert result.verdict == "better"
    assert result.estimate.high < 0.0
    assert "against the control copy" in result.reason
    harmed = make_training()
    for number in range(30):
        harmed.step(harmed.arm, harmed.batch(0, 900 - number))
    assert harmed.finish(harmed.trial(close_gate, steps=16)).verdict == "worse"


def test_a_change_that_is_none_differs_by_nothing(make_training):
    training = make_training()
    result = training.finish(training.trial(nothing))
    assert result.verdict == "no difference"
    assert result.estimate.mean == 0.0
    assert result.steps == 16


def test_a_change_without_effect_is_called_so_at_the_stated_error_rate(make_training):
    verdicts = []
    for seed in range(60):
        training = make_training(seed=seed, held_out=400)
        verdicts.append(training.finish(training.trial(nudge, steps=8, error_rate=0.1)).verdict)
    assert mean(verdict != "no difference" for verdict in verdicts) <= 0.1 + 2 * (0.09 / 60) ** 0.5


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize("change", [nothing, nudge, widen_classifier])
def test_the_run_goes_on_with_the_bits_that_it_would_have_without_a_trial(change, adam, make_training):
    alone, tried = make_training(adam=adam), make_training(adam=adam)
    torch.manual_seed(7)
    for number in range(16):
        alone.step(alone.arm, alone.batch(0, number))
    expected = digest(alone.arm)
    torch.manual_seed(7)
    trial = tried.trial(change, error_rate=1e-9)
    tried.finish(trial)
    assert trial.steps == 16
    assert digest(tried.arm) == expected


def test_both_copies_of_an_order_see_the_same_random_numbers(make_training):
    training = make_training()
    trial = training.trial(nothing)
    training.finish(trial)
    for control, changed in zip(trial.control, trial.changed, strict=True):
        assert state_digest(control.model.state_dict()) == state_digest(changed.model.state_dict())
    assert state_digest(trial.control[0].model.state_dict()) != state_digest(trial.control[1].model.state_dict())


@pytest.mark.parametrize("stopped", [3, 8, 11])
def test_a_trial_that_is_taken_up_again_ends_with_the_same_bits(stopped, make_training):
    whole = make_training(adam=True)
    torch.manual_seed(3)
    first = whole.trial(widen_classifier, error_rate=1e-9, ledger=None)
    while first.steps < stopped:
        first.advance(whole.batches(first))
    kept = clone_state(first.state_dict())
    own = clone_state([whole.arm.model.state_dict(), whole.arm.optimizer.state_dict(), rng_state()])
    book = clone_state(first.ledger.state_dict())
    expected = whole.finish(first)

    again = make_training(adam=True)
    again.arm.model.load_state_dict(own[0])
    again.arm.optimizer.load_state_dict(own[1])
    ledger = TrialLedger(first.config, first.ledger.planned)
    ledger.load_state_dict(book)
    torch.manual_seed(99)
    torch.set_rng_state(own[2]["torch"])
    second = Trial.resume(again.arm, widen_classifier, again.task(), ledger, kept, seed=again.seed)
    set_rng_state(own[2])
    result = again.finish(second)
    assert result.to_dict() == expected.to_dict()
    assert state_digest(ledger.state_dict()) == state_digest(first.ledger.state_dict())
    assert digest(again.arm) == digest(whole.arm)
    for one, other in zip(second.changed, first.changed, strict=True):
        assert state_digest(one.model.state_dict()) == state_digest(other.model.state_dict())


def test_the_cost_holds_every_step_and_reading_but_the_runs_own_steps(make_training):
    training = make_training(held_out=100)
    trial = training.trial(nothing, steps=16, error_rate=1e-9)
    forward = 2 * (6 * 12 + 12 * 3)
    training.finish(trial)
    trained = 3 * 3 * 16 * 32  # three of four copies, three forwards for a sample
    read = 4 * (100 + 8 * 32) + 4 * (100 + 10 * 32)  # two looks, four copies, BatchNorm batches
    assert trial.cost == forward * (trained + read + 100)  # and once before the trial
    assert trial.ledger.spent == trial.cost == trial.ledger.cost(forward, forward, batch=32, samples=100)


def test_a_clear_answer_ends_the_trial_early_and_costs_less(make_training):
    training = make_training()
    for number in range(60):
        training.step(training.arm, training.batch(0, 900 - number))
    long = training.trial(close_gate, steps=64, looks=3)
    result = training.finish(long)
    assert (result.verdict, result.steps) == ("worse", 16)
    assert result.cost < 0.4 * long.ledger.cost(216, 216, batch=32, samples=1200)


def test_a_trial_that_cannot_tell_is_not_made(make_training):
    """216 held-out samples see no difference of 5 % of the loss; 20,000 do."""
    few, many = make_training(held_out=216), make_training(held_out=20_000)
    before = digest(few.arm)
    trial = few.trial(open_gate, least_effect=0.05)
    assert trial.result.verdict == "cannot tell"
    assert "216 held-out samples show a difference of" in trial.result.reason
    assert not trial.result.made
    assert not trial.changed
    assert digest(few.arm) == before
    assert trial.ledger.spent == trial.result.cost == 216 * 216  # one reading, to know the losses
    with pytest.raises(TrainingError, match="a trial that is under way"):
        trial.advance([few.batch(0, 0)] * 2)
    assert many.trial(open_gate, least_effect=0.05, noise=0.01).result is None


def test_all_trials_keep_to_their_share_of_the_compute(make_training):
    training = make_training()
    ledger = TrialLedger(TrialConfig(steps=8, least_effect=10.0, patience=100), 2e8)
    made = 0
    for _ in range(20):
        trial = training.trial(nothing, ledger=ledger)
        made += training.finish(trial).made
    assert 5 <= made < 20
    assert 0.08 * 2e8 < ledger.spent <= 0.1 * 2e8
    assert "FLOPs, trials have" in trial.result.reason
    assert training.trial(nothing, share=0.0).result.verdict == "cannot tell"


def test_a_size_whose_reading_costs_too_much_of_what_is_left_is_not_tried(make_training):
    training = make_training()
    task = training.task(remaining=1e7)
    assert "1e+05 at most with 1e+07 left" in training.trial(nothing, task=task).result.reason
    for remaining in (0.0, 1e5):
        task = training.task(remaining=remaining)
        assert f"the run has {remaining:.3g} left" in training.trial(nothing, task=task).result.reason
    assert training.trial(nothing, task=training.task(remaining=1e12)).result is None


def test_after_trials_in_a_row_without_a_gain_none_is_made(make_training):
    training = make_training()
    ledger = TrialLedger(TrialConfig(least_effect=10.0, patience=3), 1e12)
    for gained in (False, False, True, False, False):
        ledger.record(gained=gained)
        assert training.trial(nothing, ledger=ledger).result is None
    ledger.record(gained=False)
    assert "the last 3 trials gained nothing" in training.trial(nothing, ledger=ledger).result.reason
    assert (ledger.made, ledger.gains) == (6, 1)


def test_a_gradual_transition_moves_in_the_changed_copies_alone(make_training):
    training = make_training(gate=0.0)

    def advance(arm, number):
        arm.model.gate.fill_(min((number + 1) / 8, 1.0))

    trial = training.trial(nothing, task=training.task(before_step=advance), error_rate=1e-9)
    for _ in range(4):
        trial.advance(training.batches(trial))
    assert [float(arm.model.gate) for arm in trial.changed] == [0.5, 0.5]
    assert [float(arm.model.gate) for arm in trial.control] == [0.0, 0.0]


def test_a_change_that_fails_leaves_network_and_streams(make_training):
    def broken(arm):
        torch.randn(3)
        raise ZeroDivisionError

    training = make_training()
    before = digest(training.arm)
    with pytest.raises(ZeroDivisionError):
        training.trial(broken)
    assert digest(training.arm) == before


def test_losses_that_are_no_numbers_have_an_answer(make_training):
    def break_it(arm):
        arm.model.gate.fill_(float("nan"))

    training = make_training()
    assert training.finish(training.trial(break_it)).verdict == "worse"
    result = training.finish(training.trial(nothing))
    assert result.verdict == "no difference"
    late = training.trial(nothing)
    break_it(training.arm)
    assert training.finish(late).verdict == "cannot tell"


@pytest.mark.gpu
def test_on_a_gpu_the_run_goes_on_with_its_own_bits(make_training):
    alone, tried = make_training(device="cuda"), make_training(device="cuda")
    torch.manual_seed(7)
    for number in range(16):
        alone.step(alone.arm, alone.batch(0, number))
    expected = state_digest(alone.arm.model.state_dict())
    torch.manual_seed(7)
    result = tried.finish(tried.trial(nudge, error_rate=1e-9))
    assert state_digest(tried.arm.model.state_dict()) == expected
    assert result.made
