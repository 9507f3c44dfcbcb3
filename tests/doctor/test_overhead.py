"""The measurement of the watch's cost runs, and its result is plain data."""

import json

import pytest

from lab.base import ConfigError
from lab.bench.doctor import DoctorBench, run, summary


def test_the_cost_of_the_watch_is_measured_on_three_networks_without_a_finding() -> None:
    result = json.loads(json.dumps(run(DoctorBench(steps=1, rounds=3))))
    assert len(result["results"]) == 3
    for figures in result["results"].values():
        assert figures["findings"] == 0
        for kind in ("watched", "anomaly", "training"):
            assert figures[kind]["low"] <= figures[kind]["ratio"] <= figures[kind]["high"]
        assert figures["watched"]["ratio"] > 0
        assert 1 <= figures["training_peak_ratio"] <= 1.3
        # Those that are watched: in a backward that runs no Python there is nothing to watch.
        assert figures["operations"] > 10
    assert len(summary(result).rows) == 3


def test_a_measurement_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="rounds"):
        DoctorBench(rounds=1)
