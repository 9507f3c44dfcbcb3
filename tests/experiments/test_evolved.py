import pytest

from lab.experiments import evolved
from lab.experiments.compute_settings import EVOLVED_ARMS, EvolvedBench


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evolved")


@pytest.fixture(scope="module")
def result(folder, short_prior):
    return evolved.run(settings(folder))


def settings(folder):
    return EvolvedBench(images=("digits",), budgets=(0.5,), channels=2, seeds=1, folder=folder)


def test_every_network_has_the_operations_that_the_search_spent(result):
    arms = result["results"]["digits"]
    assert set(EVOLVED_ARMS) <= set(arms)
    spent = arms["evolved"]["operations"]
    assert 0.25e9 < spent <= 0.5e9
    for name in ("start", "six", "six_all", "final"):
        # To the nearest step.
        assert arms[name]["operations"] == pytest.approx(spent, rel=0.05), name
    assert all(0.1 < arms[name]["mean"] <= 1.0 for name in EVOLVED_ARMS)
    # A network on every image sees each of them less often.
    assert arms["six_all"]["epochs"] < arms["six"]["epochs"]


def test_six_convolutions_get_the_seconds_of_the_search(result):
    arms = result["results"]["digits"]
    rate = arms["six"]["operations"] / arms["six"]["cpu_seconds"]
    assert arms["six_seconds"]["operations"] == pytest.approx(rate * arms["evolved"]["cpu_seconds"], rel=0.1)


def test_what_was_measured_is_kept(result, folder):
    again = evolved.run(settings(folder))
    assert again["results"] == result["results"]
    assert "evolved by ASO-SE" in str(evolved.summary(again))
