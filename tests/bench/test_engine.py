"""The benches of the engine measure what they say; how fast this machine is, no test asks."""

import json

import pytest

from lab.base import ConfigError
from lab.bench import morph, overhead, supernet
from lab.cli import main


def test_the_supernet_bench_times_both_kinds_of_step():
    result = supernet.run(supernet.SupernetBench(channels=2, layers=1, size=8, batch=4, rounds=3))
    figures = result["results"]
    assert figures["ratio"] == pytest.approx(figures["mixture_seconds"] / figures["hard_seconds"])
    assert min(figures["hard_seconds"], figures["mixture_seconds"]) > 0
    assert f"{figures['ratio']:.2f}" in str(supernet.summary(result))
    with pytest.raises(ConfigError, match="rounds"):
        supernet.SupernetBench(rounds=1)


def test_the_overhead_bench_runs_the_same_steps_with_and_without_store():
    result = overhead.run(overhead.OverheadBench(channels=2, rounds=3, checkpoint_frequency=2))
    figures = result["results"]
    assert figures["ratio"] > 0
    assert figures["steps"] == 4 * 31, "one epoch to warm up and three that are timed"
    assert figures["flushes"] == 2
    assert figures["processor_interval"][0] <= figures["processor_ratio"] <= figures["processor_interval"][1]
    assert "median of ratios" in str(overhead.summary(result))


def test_results_are_written_where_they_are_wanted(tmp_path, capsys):
    flags = ["--channels", "2", "--layers", "1", "--size", "8", "--batch", "4", "--rounds", "3"]
    assert main(["bench", "supernet", *flags, "--out", str(tmp_path / "results"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "results" / "supernet.json").read_text()) == printed
    assert printed["config"]["channels"] == 2


def test_the_surgery_bench_times_every_operation_on_every_model():
    config = morph.MorphBench(models=("small_cnn",), batch=4, size=32, rounds=3, compiled=())
    result = morph.run(config)
    rows = result["results"]["models"]["small_cnn"]["operations"]
    assert len(rows) == 3
    assert all(row["difference_float64"] <= 1e-10 and row["apply_seconds"] > 0 for row in rows)
    assert "small_cnn" in str(morph.summary(result))
    with pytest.raises(ConfigError, match="resnet17"):
        morph.run(morph.MorphBench(models=("resnet17",)))
