"""Optuna's samplers and pruners for a study, and the values that it suggests: the one place where names become objects.

Grid is not Optuna's `GridSampler`: that one ends a study by itself and gives a queued trial no point. Here each logical
trial of a grid is given one point of it, in an order that follows from the seed.
"""

import itertools
import random
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import optuna

from lab.base import derive_seed, require
from lab.tune.config import StudyConfig
from lab.tune.dimension import Dimension, Value

optuna.logging.set_verbosity(optuna.logging.ERROR)
FEWEST = 10
"""Complete trials from which shares are worked out; those of fewer say nothing."""
_LARGEST_SEED = 2**32 - 1


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLER_FACTORIES: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = MappingProxyType(
    {
        "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
        "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
        "random": _random,
        # Every parameter of a grid is given; nothing is left to be sampled.
        "grid": _random,
        "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    }
)
"""Name of a sampler -> Optuna's, from a seed."""


def make_sampler(config: StudyConfig, ordinal: int) -> optuna.samplers.BaseSampler:
    """The sampler of the supervisor `ordinal` of a study.

    A resumed study, and a second machine, draw from streams of their own: with one seed they would repeat each other.
    """
    return SAMPLER_FACTORIES[config.sampler](derive_seed(config.seed, "sampler", ordinal) % _LARGEST_SEED)


def make_pruner(config: StudyConfig) -> optuna.pruners.BasePruner:
    """The pruner of a study; Hyperband's budget is a number of reports."""
    if not config.prunes:
        return optuna.pruners.NopPruner()
    pruner: optuna.pruners.BasePruner = optuna.pruners.HyperbandPruner(
        min_resource=1, max_resource=config.epochs, reduction_factor=3
    )
    if config.patience:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = optuna.pruners.PatientPruner(pruner, patience=config.patience)
    return pruner


def suggest(trial: optuna.trial.Trial, dimensions: tuple[Dimension, ...]) -> dict[str, Value]:
    """A value of every dimension: that of the sampler, or the one that the trial must have."""
    found: dict[str, Value] = {}
    for each in dimensions:
        if each.choices:
            found[each.field] = trial.suggest_categorical(each.field, each.choices)
        elif each.whole:
            assert each.low is not None
            assert each.high is not None
            found[each.field] = trial.suggest_int(each.field, int(each.low), int(each.high), log=each.log)
        else:
            assert each.low is not None
            assert each.high is not None
            found[each.field] = trial.suggest_float(each.field, each.low, each.high, log=each.log)
    return found


def grid(config: StudyConfig) -> list[dict[str, Value]]:
    """The points of a grid, in the order in which its trials take them; empty for another sampler."""
    if config.sampler != "grid":
        return []
    axes = [_grid_values(each, config.grid_points) for each in config.dimensions]
    points = [
        dict(zip((each.field for each in config.dimensions), values, strict=True))
        for values in itertools.product(*axes)
    ]
    # Shuffled: the first trials of a grid that is cut short would all lie in one corner.
    random.Random(derive_seed(config.seed, "grid")).shuffle(points)
    return points


def check_grid(config: StudyConfig, n_trials: int) -> None:
    """Refuse more trials than a grid has points.

    Raises:
        ConfigError: so it is.
    """
    size = len(grid(config))
    require(
        config.sampler != "grid" or n_trials <= size,
        expected=f"at most {size} trials, the points of this grid",
        got=f"--n-trials {n_trials}",
        hint=f"give --n-trials {size}, or more --grid-points",
    )


def importances(study: optuna.Study, objective: int, direction: str) -> dict[str, float]:
    """Share that each searched field has in an objective's differences, largest first; empty after too few trials.

    Optuna's default evaluator, PED-ANOVA: what the best trials have in common and the others have not.
    """
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state == optuna.trial.TrialState.COMPLETE]
    if len(complete) < FEWEST or len({trial.values[objective] for trial in complete}) < 2:
        return {}
    # The evaluator takes low values for good ones.
    sign = -1.0 if direction == "maximize" else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found: dict[str, Any] = optuna.importance.get_param_importances(
            study, target=lambda trial: sign * float(trial.values[objective])
        )
    return {name: float(share) for name, share in found.items()}


def _grid_values(dimension: Dimension, points: int) -> list[Value]:
    if dimension.choices:
        return list(dimension.choices)
    low, high = dimension.low, dimension.high
    assert low is not None
    assert high is not None
    shares = [place / (points - 1) for place in range(points)]
    # At the ends the bounds themselves: a power of a logarithm can lie outside by its last bit.
    inner = [low * (high / low) ** share if dimension.log else low + share * (high - low) for share in shares[1:-1]]
    values = [low, *inner, high]
    return list(dict.fromkeys(round(value) for value in values)) if dimension.whole else list(values)
