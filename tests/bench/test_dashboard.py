"""Dashboard bench: what is counted as a latency and as a tick, and what is refused."""

import time
from pathlib import Path
from typing import Any

import pytest

from lab.base import ConfigError, StoreError
from lab.bench import dashboard_replay
from lab.bench.dashboard import MEASURES, result_name, run, summary
from lab.bench.dashboard_latency import appearance, spread
from lab.bench.dashboard_scale import NAME, TickLog, long_run, watch_ticks
from lab.bench.settings import DASHBOARD_PARTS, DashboardBench
from lab.cli.replay import wall_query
from lab.store import RunReader


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


@pytest.mark.parametrize(
    ("name", "value"), [("seconds", 1.0), ("clicks", 0), ("tabs", 0), ("parts", ()), ("parts", ("paint", "nothing"))]
)
def test_settings_outside_their_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        DashboardBench(**{name: value})


def test_a_missing_browser_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a Chromium browser"):
        run(DashboardBench(chromium=str(tmp_path / "nothing")))


def test_each_part_is_measured_by_one_function_and_named_in_the_file_of_its_result() -> None:
    assert tuple(MEASURES) == DASHBOARD_PARTS
    assert result_name(DashboardBench()) == "dashboard"
    assert result_name(DashboardBench(parts=("paint", "ticks"))) == "dashboard-paint-ticks"


class Socket:
    """A web socket or a page, as far as a log of ticks listens to it."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}

    def on(self, name: str, call: Any) -> None:
        self.listeners[name] = call


def test_what_comes_behind_a_request_belongs_to_its_tick_and_the_last_is_not_over() -> None:
    page, socket, log = Socket(), Socket(), TickLog()
    log.watch(page)
    page.listeners["websocket"](socket)
    for name, size in (
        ("framereceived", 70_000),
        ("framesent", 9),
        ("framereceived", 1_500),
        ("framereceived", 500),
        ("framesent", 9),
        ("framereceived", 20),
        ("framesent", 9),
        ("framereceived", 4_000),
        ("framesent", 9),
        ("framereceived", 9_000),
    ):
        socket.listeners[name](b"x" * size)
    assert [size for _, size in log.whole()] == [2_000, 4_000], "without what came first, the heartbeat, the last one"


class Still(Socket):
    """A page on which nothing happens, and a process that does nothing."""

    def wait_for_timeout(self, milliseconds: float) -> None:
        pass

    def cpu_times(self) -> tuple[float, float]:
        return 1.0, 1.0


def test_a_window_without_a_tick_is_an_error() -> None:
    with pytest.raises(StoreError, match="ticks of the page"):
        watch_ticks(Still(), TickLog(), Still(), 5.0)


def test_the_long_run_goes_on_while_it_is_watched(tmp_path: Path) -> None:
    with long_run(tmp_path, DashboardBench(scalars=2_000, genotypes=5)) as made:
        step, mutations = made.step, made.mutations
        with made.going_on(200.0, mutation_seconds=0.02):
            while made.mutations < mutations + 2:
                time.sleep(0.01)
        reader = RunReader(tmp_path / NAME)
        assert reader.state() == "running"
        assert reader.config()["synthetic"] is True
    assert made.step > step
    assert len(reader.scalars()) == made.scalars


def test_the_replay_that_is_timed_is_the_one_that_a_person_sees() -> None:
    assert wall_query() == dashboard_replay.QUERY


def test_the_summary_sets_each_figure_beside_its_aim() -> None:
    latency = {"count": 3, "median_s": 0.5, "p95_s": 0.75, "max_s": 1.25}
    tick = {"ticks": 20, "server_s": 0.045, "answer_s": 0.06, "bytes_median": 30_000, "bytes_max": 39_000}
    load = {"load_average": 0.1}
    pair = {"steps_per_second": 100.0, "server_share": 0.4}
    parts = {
        "latency": dict.fromkeys(("write_to_page", "click_to_mutation", "click_to_page"), latency)
        | {"aim": {"write_to_page_s": 2.0, "click_to_mutation_s": 1.0}, **load},
        "paint": {"scalars": 1_000_000, "genotypes": 5_000, "first_visit_server_s": [0.8]}
        | {"first_visit": [{"numbers": 1.25, "chart": 1.5}], "next_visit": [{"numbers": 0.75, "chart": 0.9}]}
        | {"aim_s": 2.0, **load},
        "ticks": {"scalars": tick, "mutations": tick, "aim": {"server_s": 0.06, "bytes": 40_000}, **load},
        "listing": {"runs": 200, "list_s": 0.21, "page_tick": tick, "aim_s": 0.3, **load},
        "tabs": {
            "tabs": 30,
            "seen": 1,
            "slower": 0.03,
            "slower_each": [0.01, 0.05],
            "pairs": [{"with": pair, "without": pair}],
        }
        | {"aim": 0.05, **load},
        "replay": {"starts": [{"served_s": 1.0, "shown_s": 3.5}], "aim_s": 5.0, **load},
    }
    text = str(summary({"machine": {"cores": 2}, "results": parts}))
    for part in (
        "median 0.50 s, 95 % 0.75 s, largest 1.25 s of 3",
        "< 2 s",
        "1.25 s on a fresh server (0.80 s of its processor time), 0.75 s after",
        "1.50 s on a fresh server (0.80 s of its processor time), 0.90 s after",
        "30 tabs, 1 of them in sight",
        "45 ms of the server, 30.0 kB (largest 39.0)",
        "<= 60 ms, <= 40 kB",
        "0.210 s; a tick of the page of runs 0.045 s of the server",
        "3.0% (1.0% to 5.0%); the server takes 40% of a core",
        "3.5 s (3.5 to 3.5)",
    ):
        assert part in text
