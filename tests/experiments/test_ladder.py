"""The planned width against a ladder of widths."""

import json

import pytest

from lab.base import ConfigError
from lab.experiments import ladder
from lab.experiments.compute_settings import LadderBench


@pytest.mark.slow
def test_the_plan_is_held_against_the_best_width_and_a_repeated_call_trains_nothing(tmp_path, monkeypatch):
    config = LadderBench(
        images=("digits",), budgets=(0.3,), steps=2, widths=(2, 4), seeds=2, first_seed=100, folder=tmp_path
    )
    found = ladder.run(config)
    small, large = found["results"]["settings"].values()
    assert small["planned"] <= large["planned"], "more compute pays for a wider network"
    assert small["widths"]["2"]["epochs"] > small["widths"]["4"]["epochs"]
    assert large["widths"]["2"]["epochs"] > small["widths"]["2"]["epochs"]
    means = {width: small["widths"][str(width)]["mean"] for width in config.widths}
    assert small["best"] == max(means, key=means.get)
    behind = [own["behind_best"]["mean"] for own in (small, large)]
    assert small["behind_best"]["mean"] == pytest.approx(max(means.values()) - means[small["planned"]])
    assert found["results"]["most_behind"] == max(behind)
    assert "digits, 1.2 GFLOP" in str(ladder.summary(found))
    monkeypatch.setattr(ladder, "measure", None)
    assert json.dumps(ladder.run(config)["results"]) == json.dumps(found["results"])


def test_every_data_set_needs_a_budget():
    with pytest.raises(ConfigError, match="budget"):
        LadderBench(images=("digits",))
