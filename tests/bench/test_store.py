import json

import pytest

from lab.base import ConfigError
from lab.bench.store import StoreBench, run, summary


def test_the_bench_measures_writing_reading_and_a_kill() -> None:
    result = json.loads(json.dumps(run(StoreBench(steps=500, reads=100, pause=0.0))))
    figures = result["results"]
    assert result["bench"] == "store"
    assert figures["writing"]["rows"] == 5000
    assert figures["writing"]["rows_per_second"] > 0
    for name in ("reading", "reading_beside_flat_out"):
        assert 0 < figures[name]["p50_ms"] <= figures[name]["p99_ms"] <= figures[name]["max_ms"]
    for name in ("kill", "kill_flat_out"):
        assert (figures[name]["state"], figures[name]["integrity"]) == ("stale", "ok")
        assert figures[name]["rows"] > 0
    assert "integrity ok" in str(summary(result))


@pytest.mark.parametrize("setting", [{"steps": 1}, {"rate": 0.0}, {"reads": 1}, {"pause": -1.0}])
def test_a_setting_outside_its_range_is_named(setting: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        StoreBench(**setting)
