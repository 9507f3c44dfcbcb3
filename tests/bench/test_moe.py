import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.bench import moe
from lab.bench.moe import MoeBench

SMALL = MoeBench(tokens=16, dim=8, hidden=12, experts=(2, 4), rounds=3)


def test_every_way_is_timed_for_every_number_of_experts():
    result = moe.run(SMALL)
    rows = result["results"]["rows"]
    assert [row["experts"] for row in rows] == [2, 4]
    for row in rows:
        assert row["difference"] < 1e-6
        assert row["grouped_product"]
        assert set(row["milliseconds"]) == {"router", "grouped", "eager"}
        assert all(0 < row["fastest_milliseconds"][way] <= middle for way, middle in row["milliseconds"].items())
    assert result["results"]["cost_ratio"]["experts"] == [2, 4]
    text = str(moe.summary(result))
    assert "16 tokens, width 8" in text
    assert "cost of 4 experts against 2" in text


def test_a_ratio_is_the_median_of_ratios_within_a_round():
    seconds = {(2, "router"): [1.0, 9.0, 1.0], (2, "grouped"): [2.0, 18.0, 8.0], (2, "eager"): [3.0, 27.0, 3.0]}
    row = moe._figures(2, moe.build_blocks(SMALL, 2, torch.device("cpu")), seconds, 0.0)
    assert row["speed_against"] == {"grouped": 2.0, "eager": 3.0}
    assert row["milliseconds"]["router"] == 1000.0


def test_the_peers_run_what_their_names_say(monkeypatch):
    blocks = moe.build_blocks(SMALL, 4, torch.device("cpu"))
    x = torch.randn(1, 16, 8)
    called = []
    product = nn.functional.grouped_mm
    monkeypatch.setattr(nn.functional, "grouped_mm", lambda *a, **k: called.append(1) or product(*a, **k))
    counts = {}
    for way, block in blocks.items():
        block(x)
        counts[way], called[:] = len(called), []
    assert counts == {"router": 2, "grouped": 2, "eager": 0}


def test_blocks_that_do_not_compute_the_same_are_not_compared():
    blocks = moe.build_blocks(SMALL, 4, torch.device("cpu"))
    nn.init.ones_(blocks["eager"].experts.down_proj)
    with pytest.raises(ConfigError, match="outputs that differ by less than 0.0001"):
        moe.check_same(blocks, torch.randn(1, 16, 8))


@pytest.mark.parametrize(
    ("settings", "match"), [({"k": 1}, "k = 1"), ({"experts": (2, 1)}, "experts = 1"), ({"experts": ()}, "found none")]
)
def test_settings_that_cannot_be_compared_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        MoeBench(**settings)


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(moe.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Install the extra text"):
        moe.run(SMALL)
