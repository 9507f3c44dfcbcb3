"""Dashboard bench: what is counted as a latency, and what is refused."""

from pathlib import Path

import pytest

from lab.base import ConfigError, StoreError
from lab.bench.dashboard import DashboardBench, appearance, run, spread, summary


def test_a_step_appears_when_it_or_a_later_one_is_shown() -> None:
    steps, times = [0, 1, 2, 3], [10.0, 10.1, 10.2, 10.3]
    shown = [[0, 10.5], [2, 11.5]]
    found = appearance(steps, times, shown, begin=10.0, end=20.0)
    assert found == pytest.approx([0.5, 1.4, 1.3])


def test_steps_outside_the_window_do_not_count() -> None:
    steps, times = [0, 1, 2], [5.0, 10.0, 15.0]
    assert appearance(steps, times, [[2, 16.0]], begin=9.0, end=12.0) == [6.0]


def test_the_spread_names_median_high_and_largest() -> None:
    assert spread([float(number) for number in range(1, 101)]) == {
        "count": 100,
        "median_s": 50.5,
        "p95_s": 96.0,
        "max_s": 100.0,
    }


def test_no_latency_at_all_is_an_error() -> None:
    with pytest.raises(StoreError, match="at least one latency"):
        spread([])


@pytest.mark.parametrize("setting", [{"seconds": 1.0}, {"clicks": 0}])
def test_settings_outside_their_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        DashboardBench(**setting)


def test_a_missing_browser_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a Chromium browser"):
        run(DashboardBench(chromium=str(tmp_path / "nothing")))


def test_the_summary_sets_each_latency_beside_its_aim() -> None:
    latency = {"count": 3, "median_s": 0.5, "p95_s": 0.75, "max_s": 1.25}
    result = {
        "machine": {"load_average": 0.1, "cores": 2},
        "results": {
            "steps_per_second": 20.0,
            "write_to_page": latency,
            "click_to_mutation": latency,
            "click_to_page": latency,
            "refused_clicks": 0,
            "aim": {"write_to_page_s": 2.0, "click_to_mutation_s": 1.0},
        },
    }
    text = str(summary(result))
    assert "0.50 s  0.75 s  1.25 s" in text
    assert "< 2 s" in text
    assert "20 steps/s" in text
