"""Does the search decide: entropy at the end of a run, and the cell against the prior's."""

import pytest

from lab.base import ConfigError
from lab.experiments import decided
from lab.experiments.compute_settings import DecidedBench

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decided")
    config = DecidedBench(
        settings=("digits", "nb125"), epochs=8, channels=2, seeds=1, ranked_seeds=1, first_seed=100, folder=folder
    )
    return config, decided.run(config)


def test_entropy_falls_and_ranks_come_from_the_table(result):
    _, found = result
    digits, small = found["results"]["digits"], found["results"]["nb125"]
    (row,) = digits["runs"]
    assert 0.0 < row["entropy"] < row["entropies"][0] <= 1.0
    assert digits["mean"] == digits["largest"] == row["entropy"]
    assert "digits prior rank" not in digits
    assert len(small["runs"]) == 1
    assert 1 <= small["digits cell rank"] <= 125
    same = [row["cell"] == row["prior"] for row in small["runs"]]
    assert small["changed"] == same.count(False)
    assert "nb125" in str(decided.summary(found))


def test_a_repeated_call_trains_nothing_again(result, monkeypatch):
    config, found = result
    monkeypatch.setattr(decided, "decide", None)
    assert decided.run(config)["results"] == found["results"]


def test_another_setting_is_refused():
    with pytest.raises(ConfigError, match="digits"):
        DecidedBench(settings=("mnist",))
