"""What a study is: ranges, objectives and pruning that go together, and the fingerprint."""

import dataclasses
import json

import pytest

from lab.base import ConfigError, StudyError
from lab.runs import RunConfig
from lab.tune import Dimension, StudyConfig, WorkConfig
from lab.tune.config import OBJECTIVES, RUN_TARGET, check_fingerprint

X = Dimension(field="weight_lr", low=0.1, high=0.2)


def make(**fields):
    return StudyConfig(**({"name": "a", "dimensions": (X,), "base": RunConfig(recipe="fixed").to_json()} | fields))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"dimensions": ()}, "a searched field, found none"),
        ({"sampler": "annealing"}, "sampler to be one of tpe, nsga2"),
        ({"pruner": "median"}, "pruner to be one of"),
        ({"epochs": 0}, "epochs >= 1"),
        ({"retries": -1}, "retries >= 0"),
        ({"directions": ("up",)}, "directions to be one of"),
        ({"objectives": ("accuracy", "parameters")}, "one direction for each objective"),
        (
            {"objectives": ("accuracy", "loss"), "directions": ("maximize", "minimize"), "pruner": "hyperband"},
            "one objective that is reported.*got accuracy, loss. Give --pruner none",
        ),
        (
            {"objectives": ("flops",), "directions": ("minimize",), "pruner": "hyperband"},
            "one objective that is reported.*got flops",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(fields, match):
    with pytest.raises(ConfigError, match=match):
        make(**fields)


def test_pruning_is_the_default_where_one_objective_is_reported():
    two = {"objectives": ("accuracy", "loss"), "directions": ("maximize", "minimize")}
    assert make().prunes
    assert make(pruner="hyperband").prunes
    assert not make(pruner="none").prunes
    assert not make(**two).prunes
    assert not make(objectives=("flops",), directions=("minimize",)).prunes


def test_a_study_comes_back_from_json():
    study = make(sampler="random", retries=3)
    assert StudyConfig.from_json(json.loads(json.dumps(study.to_json()))).to_json() == study.to_json()
    with pytest.raises(ConfigError, match="the settings of a study"):
        StudyConfig.from_json({"name": "a"})


CHANGES = {
    "space": {"dimensions": (dataclasses.replace(X, high=0.3),)},
    "objectives": {"directions": ("minimize",)},
    "sampler": {"seed": 1},
    "pruner": {"pruner": "none"},
    "data": {"base": RunConfig.from_fields(recipe="fixed", train_limit=100).to_json()},
    "settings": {"base": RunConfig(recipe="fixed", init_channels=4).to_json()},
    "evaluation": {"target": "toys:quad"},
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_change_of_the_study_is_named_by_its_part(part):
    with pytest.raises(
        StudyError, match=f"study a with {part}: .*, got {part}: .*Give the study's own settings"
    ) as caught:
        check_fingerprint(make().fingerprint(), make(**CHANGES[part]).fingerprint(), "a")
    assert "\n" not in str(caught.value)


def test_the_code_and_a_data_file_are_part_of_the_fingerprint(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"one")
    study = make(base=RunConfig.from_fields(recipe="fixed", name=str(path)).to_json())
    before = study.fingerprint()
    path.write_bytes(b"two")
    with pytest.raises(StudyError, match="with data: "):
        check_fingerprint(before, study.fingerprint(), "a")
    with pytest.raises(StudyError, match="with code: 0.0"):
        check_fingerprint({**study.fingerprint(), "code": "0.0"}, study.fingerprint(), "a")


def test_machines_may_differ_in_device_and_threads():
    other = RunConfig.from_fields(recipe="fixed", device="cpu", threads=3).to_json()
    check_fingerprint(make().fingerprint(), make(base=other, retries=5).fingerprint(), "a")


def test_the_work_of_a_machine_has_legal_ranges():
    for fields in ({"n_trials": 0}, {"parallel": 0}, {"trial_timeout": -1}, {"heartbeat": 0}, {"grace": 1.0}):
        with pytest.raises(ConfigError, match=f"{next(iter(fields))} "):
            WorkConfig(**fields)


def test_every_objective_of_a_run_has_a_direction():
    assert set(OBJECTIVES.values()) == {"maximize", "minimize"}
    assert make().target == RUN_TARGET
