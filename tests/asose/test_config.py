"""Every setting of a run does something: changed alone, it changes the run."""

import dataclasses

import pytest
import torch

from lab.asose import ASOSEConfig
from lab.base import ConfigError, PlacementError
from lab.checkpoint import list_checkpoints
from lab.datasets import DataConfig
from lab.runs import Run, RunConfig, build
from lab.state import state_digest
from lab.train import CheckpointConfig, DeviceConfig, NullSink, OptimizerConfig, TrainingLoop
from lab.train.optimizer import LearningRate

BASE = {
    "prior": "none",
    "retraining_epochs": 0,
    "mutation_test": "before",
    "warmup_epochs": 1,
    "arch_training_epochs": 2,
    "weight_training_epochs": 1,
    "total_cycles": 3,
    "weight_lr": 0.05,
    "arch_lr": 0.3,
    "device": "cpu",
}
GROWS = {"growth": "width"}
ADAPTIVE = {"temperature_schedule": "adaptive"}
PLATEAU = {"weight_schedule": "plateau", "rate_patience": 3, "weight_lr": 1e-9}
IMPATIENT = {"weight_training_epochs": 4, "early_stopping_patience": 2, "weight_lr": 1e-4}
AT_ONCE = {"preserve_function": False, "weight_lr": 1e-4, "mutation_kind": "random", "reject_z": 0.0}
SCORED = {"prior": "scores", "prior_evaluations": 30}
CHANGED = {
    "prior": ({"prior_evaluations": 30}, "scores"),
    "prior_evaluations": (SCORED, 40),
    "prior_strength": (SCORED, 1.0),
    "retraining_epochs": ({}, 1),
    "warmup_epochs": ({}, 2),
    "arch_training_epochs": ({}, 1),
    "weight_training_epochs": ({}, 2),
    "total_cycles": ({}, 2),
    "initial_temp": ({}, 2.0),
    "min_temp": ({}, 1.0),
    "anneal_rate": (ADAPTIVE, 0.5),
    "temperature_schedule": ({}, "constant"),
    "sampling": ({}, "gdas"),
    "exploration_factor": ({}, 0.0),
    "allow_none": ({}, True),
    "beta_decay": ({}, 5.0),
    "skip_dropout": ({}, 0.5),
    "auxiliary_skip": ({}, 1.0),
    "max_skips": ({"allow_none": True}, 1),
    "stable_epochs": ({"arch_lr": 1e-9}, 1),
    "selection": ({}, "perturbation"),
    "mutation_frequency": ({}, 2),
    "mutation_test": ({}, "restart"),
    "preserve_function": ({}, False),
    "mutation_strength": ({}, 1.0),
    "mutation_kind": ({}, "random"),
    "growth": ({}, "depth"),
    "enable_gradual_growth": (GROWS, False),
    "growth_factor": (GROWS, 2.0),
    "growth_units": (GROWS, "copies"),
    "reject_z": (AT_ONCE, 1e9),
    "weight_lr": ({}, 0.01),
    "weight_schedule": ({}, "constant"),
    "weight_schedule_interval": ({}, "epoch"),
    "rate_patience": (PLATEAU, 1),
    "weight_momentum": ({}, 0.5),
    "weight_average": ({}, 0.9),
    "weight_decay": ({}, 0.1),
    "arch_lr": ({}, 0.1),
    "arch_weight_decay": ({}, 0.5),
    "grad_clip": ({}, 0.1),
    "early_stopping_patience": (IMPATIENT, 0),
    "performance_threshold": (IMPATIENT, 0.9),
    "target_accuracy": ({}, 0.01),
}
LONG = (
    *("growth_factor", "growth_units", "prior_evaluations", "prior_strength"),
    *("anneal_rate", "min_temp", "stable_epochs", "beta_decay", "skip_dropout", "max_skips", "mutation_strength"),
    *("weight_momentum", "weight_schedule_interval", "rate_patience", "arch_weight_decay", "performance_threshold"),
)
"""What the long form alone runs: what costs most (growth, priors), and one of two settings of a schedule or penalty."""
ELSEWHERE = {
    "growth_schedule": "test_growth_comes_at_its_cycles_alone",
    "trial_steps": "tests/asose/test_mutation_trial.py::test_a_run_tells_what_its_trials_said",
    "reading_share": "tests/runs/test_plan.py::test_readings_after_an_epoch_take_their_share_of_the_budget",
    "trial_share": "tests/asose/test_mutation_trial.py::test_trials_that_may_cost_nothing_are_not_made",
    "device": "tests/runs/test_build.py and test_a_device_that_is_not_there_is_refused",
    "memory_fraction": "test_a_memory_fraction_needs_an_accelerator",
    "save_checkpoints": "test_checkpoints_follow_their_settings",
    "checkpoint_frequency": "test_checkpoints_follow_their_settings",
    "max_checkpoints": "test_checkpoints_follow_their_settings",
    "max_rollbacks": "tests/train/test_loop.py::test_a_run_that_cannot_be_saved_by_roll_backs_fails",
}


@pytest.fixture(scope="module")
def trained():
    """The loop of a run with these settings, after its end; each is run once, and tests read it."""
    known = {}

    def train(**search):
        key = repr(sorted(search.items()))
        if key not in known:
            known[key] = run(**search)
        return known[key]

    return train


@pytest.fixture(scope="module")
def end(trained):
    """What a run of these settings ends as: a digest of everything."""
    return lambda **search: end_of(trained(**search))


def end_of(loop):
    return state_digest(loop.strategy.state().tensors)


def run(epochs=None, **search):
    config = RunConfig.from_fields(
        **(BASE | search),
        data=DataConfig(train_limit=96),
        init_channels=4,
        layers=3,
        batch_size=12,
        threads=1,
        epochs=epochs,
    )
    parts = build(config)
    loop = TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        NullSink(),
        epochs=config.total_epochs,
        save=lambda reason: None,
        save_every=1,
    )
    loop.run()
    return loop


def test_no_setting_is_left_out():
    records = (ASOSEConfig, OptimizerConfig, CheckpointConfig, DeviceConfig)
    names = {item.name for record in records for item in dataclasses.fields(record)}
    assert names == CHANGED.keys() | ELSEWHERE.keys()
    assert not CHANGED.keys() & ELSEWHERE.keys()


def test_the_same_settings_give_the_same_end(end):
    assert end_of(run()) == end()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large if name in LONG else ()) for name in CHANGED]
)
def test_a_changed_setting_changes_the_run(end, name):
    base, value = CHANGED[name]
    record = ASOSEConfig() if hasattr(ASOSEConfig(), name) else OptimizerConfig()
    assert (BASE | base).get(name, getattr(record, name)) != value
    assert end(**base) != end(**(base | {name: value}))


@pytest.mark.parametrize(
    ("frequency", "most", "epochs", "expected"), [(1, 2, 3, 2), (1, 9, 3, 3), (2, 9, 3, 1), (9, 9, 3, 0)]
)
def test_checkpoints_follow_their_settings(make_config, tmp_path, frequency, most, epochs, expected):
    search = {"checkpoint_frequency": frequency, "max_checkpoints": most}
    Run(make_config(search, epochs=epochs), save_dir=tmp_path, name="kept").execute()
    files = list_checkpoints(tmp_path / "kept" / "checkpoints")
    assert sum(file.reason == "epoch" for file in files) == expected


def test_a_device_that_is_not_there_is_refused(make_config):
    with pytest.raises(PlacementError, match="cuda:77"):
        build(make_config({"device": "cuda:77"}))


def test_a_memory_fraction_needs_an_accelerator(make_config):
    with pytest.raises(ConfigError, match="a CUDA device with --memory-fraction, got cpu"):
        build(make_config({"memory_fraction": 0.5}))


def test_a_phase_of_no_epochs_is_passed_over(trained):
    def phases(**search):
        return [row["phase"] for row in trained(**search).history]

    assert "warmup" not in phases(warmup_epochs=0)
    assert "arch_training" not in phases(arch_training_epochs=0)
    without = trained(weight_training_epochs=0)
    assert "weight_retraining" not in [row["phase"] for row in without.history]
    assert without.strategy.network is not None
    assert without.strategy.network.transitions == {}


def test_mutations_come_every_so_many_cycles(trained):
    assert trained(mutation_frequency=2).strategy.mutator.number == 1
    assert ASOSEConfig().mutation_frequency == 1
    assert trained().strategy.mutator.number == 2


def test_without_function_preservation_the_event_holds_the_jump(trained):
    strategy = trained(preserve_function=False).strategy
    assert strategy.mutator.largest_difference > 1e-3
    assert trained().strategy.mutator.largest_difference <= 1e-5


def test_a_run_ends_where_its_target_is_reached(trained):
    loop = trained(target_accuracy=0.01)
    assert loop.epoch == 4
    assert loop.strategy.phase == "finished"


def test_growth_comes_at_its_cycles_alone(trained):
    assert ASOSEConfig().growth_schedule == ()
    grown = [trained(**GROWS, **cycles).strategy.growth.grown for cycles in ({}, {"growth_schedule": (2,)})]
    assert [len(each) for each in grown] == [2, 1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision_changes_the_run(make_config, precision):
    def first(**fields):
        parts = build(make_config(**fields))
        x, y = next(parts.data.batches(parts.strategy.begin_epoch(0, 0, parts.data).split, 0))
        return parts.strategy.step(x, y).loss

    assert first(precision=precision) != first()
    assert first(precision=precision) == pytest.approx(first(), rel=0.05)


def test_threads_are_set(make_config):
    before = torch.get_num_threads()
    build(make_config(threads=2))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_plateau_halves_the_rate_and_a_gain_starts_the_wait_again():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    rate = LearningRate(optimizer, 0.1, 10, schedule="plateau", patience=2)
    assert [rate.observe(loss) for loss in (1.0, 1.1, 0.9, 0.9)] == [None] * 4
    assert rate.observe(0.95) == pytest.approx((0.1, 0.05))
    rate.begin(9)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert LearningRate(optimizer, 0.1, 10, schedule="constant").observe(9.0) is None
