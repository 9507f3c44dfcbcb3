"""The spelling of what is searched, and what of it no run accepts."""

import json

import pytest

from lab.base import ConfigError
from lab.runs import RunConfig
from lab.tune import Dimension, check_dimensions, field_types, parse_space, read_space
from lab.tune.dimension import parse_dimension, with_settings

KINDS = field_types()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weight_lr=1e-3:1e-1:log", Dimension(field="weight_lr", low=1e-3, high=1e-1, log=True)),
        ("weight-lr=0.1:0.5", Dimension(field="weight_lr", low=0.1, high=0.5)),
        ("batch_size=8:64:log", Dimension(field="batch_size", low=8.0, high=64.0, log=True, whole=True)),
        ("batch_size=16,32,64", Dimension(field="batch_size", choices=(16, 32, 64))),
        ("precision=float32,bf16", Dimension(field="precision", choices=("float32", "bf16"))),
        ("compile=True,False", Dimension(field="compile", choices=(True, False))),
        ("memory_fraction=None,0.5", Dimension(field="memory_fraction", choices=(None, 0.5))),
    ],
)
def test_a_dimension_is_read_by_the_type_of_its_field(text, expected):
    found = parse_dimension(text, KINDS)
    assert found == expected
    assert Dimension.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert parse_dimension(str(found), KINDS) == found


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("weight_lr", "expected FIELD=low:high"),
        ("speed=1:2", "a field that can be searched.*got 'speed'"),
        ("epochs=1:2", "a field that can be searched.*got 'epochs'"),
        ("weight_lr=0.1:0.1", "low < high for weight_lr.*an empty range"),
        ("weight_lr=0.5:0.1", "low < high for weight_lr"),
        ("weight_lr=nan:1", "low < high for weight_lr"),
        ("weight_lr=0:1:log", "low > 0 for the logarithmic range"),
        ("weight_lr=1:2:3", "weight_lr=low:high or"),
        ("weight_lr=a:b", "values of weight_lr of type float, got 'a'"),
        ("batch_size=1.5:3", "values of batch_size of type int, got '1.5'"),
        ("batch_size=16", "two or more different values of batch_size"),
        ("batch_size=16,16", "two or more different values of batch_size"),
        ("compile=yes,no", "True or False for compile"),
    ],
)
def test_another_spelling_is_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_dimension(text, KINDS)


def test_a_field_stands_once_and_one_at_least():
    with pytest.raises(ConfigError, match="at least one searched field, found none"):
        parse_space([], KINDS)
    with pytest.raises(ConfigError, match="each searched field once, got seed"):
        parse_space(["seed=1:3", "seed=4:9"], KINDS)


def test_a_space_file_says_the_same_as_options(tmp_path):
    path = tmp_path / "space.json"
    path.write_text('{"weight_lr": "1e-3:1e-1:log", "batch_size": [16, 32]}')
    assert read_space(path, KINDS) == parse_space(["weight_lr=1e-3:1e-1:log", "batch_size=16,32"], KINDS)
    for text, match in (("[1]", "an object of FIELD: RANGE"), ("{", "a space file of JSON")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=match):
            read_space(path, KINDS)
    with pytest.raises(ConfigError, match="a space file of JSON"):
        read_space(tmp_path / "gone.json", KINDS)


def test_values_reach_their_record_and_no_other_setting():
    base = RunConfig(recipe="fixed", init_channels=4)
    changed = with_settings(base, {"weight_lr": 0.01, "batch_size": 16, "seed": 3})
    assert (changed.optimizer.weight_lr, changed.batch_size, changed.seed, changed.data.seed) == (0.01, 16, 3, 3)
    assert with_settings(changed, {"weight_lr": 0.025, "batch_size": 64, "seed": 0}).to_json() == (
        with_settings(base, {"weight_lr": 0.025}).to_json()
    )


def test_values_that_no_run_accepts_are_refused_before_a_study():
    base = RunConfig(recipe="fixed")
    check_dimensions(base, parse_space(["batch_size=2:64"], KINDS))
    with pytest.raises(ConfigError, match="batch_size >= 2"):
        check_dimensions(base, parse_space(["batch_size=1:64"], KINDS))
    with pytest.raises(ConfigError, match="precision to be one of"):
        check_dimensions(base, parse_space(["precision=float32,float8"], KINDS))
