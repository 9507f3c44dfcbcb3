"""Samplers compared on studies of a few tiny trainings."""

import json
from importlib.util import find_spec

import pytest

from lab.base import ConfigError
from lab.experiments import SamplersBench

pytestmark = pytest.mark.skipif(not find_spec("optuna"), reason="needs the extra tune")


def test_every_sampler_has_its_trials_and_a_repeated_call_measures_nothing(tmp_path, monkeypatch):
    from lab.experiments import samplers

    trained = []
    whole = samplers._train

    def watched(settings):
        trained.append(settings)
        return whole(settings)

    monkeypatch.setattr(samplers, "_train", watched)
    search = ("weight_lr=0.01:0.1:log", "batch_size=16,32,64,48")
    config = SamplersBench(
        seeds=2, trials=10, epochs=1, train_limit=100, search=search, samplers=("grid", "random"), folder=tmp_path
    )
    found = samplers.run(config)
    # Ten trials and the best one again, in two studies of two samplers.
    assert len(trained) == 2 * 2 * 11
    first = [(each.optimizer.weight_lr, each.batch_size) for each in trained[:10]]
    assert len(set(first)) == 10
    assert {round(rate, 4) for rate, _ in first} == {0.01, 0.0316, 0.1}
    results = found["results"]
    for row in results.values():
        assert row["studies"] == len(row["test_of_study"]) == 2
        assert 0 < row["best"]["10"] <= 1
    assert "ahead_of_random" in results["grid"]
    assert "ahead_of_random" not in results["random"]
    assert "grid, 3 values" in str(samplers.summary(found))
    monkeypatch.setattr(samplers, "measure", None)
    assert json.dumps(samplers.run(config)["results"]) == json.dumps(results)


def test_a_sampler_that_is_not_compared_and_a_short_study_are_refused():
    with pytest.raises(ConfigError, match="sampler to be one of"):
        SamplersBench(samplers=("gp",))
    with pytest.raises(ConfigError, match="trials >= 10"):
        SamplersBench(trials=3)
