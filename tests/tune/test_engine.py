"""Samplers and pruners by name: seeds that do not repeat, grids that take each point once, importances by direction."""

import math

import optuna
import pytest

from lab.base import ConfigError
from lab.tune import SAMPLERS, Dimension
from lab.tune.engine import SAMPLER_FACTORIES, check_grid, grid, importances, make_pruner, make_sampler, suggest

SPACE = (
    Dimension(field="rate", low=1e-3, high=1e-1, log=True),
    Dimension(field="size", low=2.0, high=9.0, whole=True),
    Dimension(field="kind", choices=("a", "b")),
)


def draw(config, ordinal, count=4):
    study = optuna.create_study(sampler=make_sampler(config, ordinal))
    found = []
    for _ in range(count):
        trial = study.ask()
        found.append(suggest(trial, config.dimensions))
        study.tell(trial, found[-1]["rate"])
    return found


def test_every_sampler_has_a_factory():
    assert set(SAMPLER_FACTORIES) == set(SAMPLERS)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_draws_follow_from_the_seed_and_no_supervisor_repeats_another(study, sampler):
    config = study(dimensions=SPACE, sampler=sampler)
    first = draw(config, 0)
    assert first == draw(config, 0)
    assert first != draw(config, 1)
    assert first != draw(study(dimensions=SPACE, sampler=sampler, seed=1), 0)
    assert all(1e-3 <= each["rate"] <= 1e-1 and each["size"] in range(2, 10) and each["kind"] in "ab" for each in first)


def test_a_grid_has_each_point_once_with_both_ends(study):
    points = grid(study(dimensions=SPACE, sampler="grid", grid_points=3))
    assert len(points) == len({tuple(each.values()) for each in points}) == 3 * 3 * 2
    rates = sorted({each["rate"] for each in points})
    assert (rates[0], rates[-1]) == (1e-3, 1e-1)
    assert math.isclose(rates[1], 1e-2)
    assert points != grid(study(dimensions=SPACE, sampler="grid", grid_points=3, seed=1))
    assert grid(study(dimensions=SPACE)) == []


def test_more_trials_than_points_are_refused(study):
    config = study(dimensions=SPACE, sampler="grid", grid_points=2)
    check_grid(config, 8)
    with pytest.raises(ConfigError, match=r"at most 8 trials, the points of this grid, got --n-trials 9"):
        check_grid(config, 9)


def test_pruners_are_hyperband_patient_or_none(study):
    assert isinstance(make_pruner(study(pruner="none")), optuna.pruners.NopPruner)
    assert isinstance(make_pruner(study(pruner="hyperband")), optuna.pruners.HyperbandPruner)
    assert isinstance(make_pruner(study(pruner="hyperband", patience=2)), optuna.pruners.PatientPruner)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_field_that_decides_has_the_largest_share(direction):
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    assert importances(study, 0, direction) == {}
    for _ in range(40):
        trial = study.ask()
        x, _ = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        study.tell(trial, (x - 0.9) ** 2 if direction == "minimize" else -((x - 0.9) ** 2))
    assert next(iter(importances(study, 0, direction))) == "x"
