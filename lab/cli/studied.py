"""The settings of a run from a study: what `lab train --from-study` begins with."""

import dataclasses
from typing import Any

from lab.base import ConfigError
from lab.cli.tune_show import find_study
from lab.runs import RECORDS, RunConfig
from lab.tune import best_settings
from lab.tune.dimension import with_settings


def studied_config(study: str) -> RunConfig:
    """The run of the best trial of a study.

    Args:
        study: its folder, or its name among the studies here.

    Raises:
        ConfigError: no such study.
        StudyError: it has no complete trial, or not one that is best.
    """
    return RunConfig.from_json(best_settings(find_study(study)))


def over_study(studied: RunConfig, given: RunConfig, plain: RunConfig) -> RunConfig:
    """The run of a study, with what the command line says otherwise.

    Args:
        studied: the run of its best trial.
        given: the settings that the command line describes.
        plain: those of a command line without options.

    Raises:
        ConfigError: another recipe, or values that do not go together.
    """
    if given.recipe != studied.recipe:
        raise ConfigError(f"recipe {studied.recipe}, that of the study", given.recipe, f"lab train {studied.recipe}")
    changed: dict[str, Any] = {}
    for name in RECORDS:
        changed |= _changed(getattr(given, name), getattr(plain, name))
    return with_settings(studied, changed | {k: v for k, v in _changed(given, plain).items() if k not in RECORDS})


def _changed(given: Any, plain: Any) -> dict[str, Any]:
    names = [item.name for item in dataclasses.fields(given)]
    return {name: getattr(given, name) for name in names if getattr(given, name) != getattr(plain, name)}
