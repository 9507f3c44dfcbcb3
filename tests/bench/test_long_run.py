"""The bench of a long run: the run that it writes, and what it says of it."""

from pathlib import Path

import pytest

from lab.base import ConfigError
from lab.bench.long_run import NAME, run, summary, write_run
from lab.bench.settings import LongRunBench
from lab.store import RunReader


def test_the_run_has_the_rows_that_were_asked_for(tmp_path: Path) -> None:
    count = write_run(tmp_path, LongRunBench(scalars=2_000, genotypes=30))
    reader = RunReader(tmp_path / NAME)
    assert len(reader.scalars()) == count
    assert 2_000 <= count + 9 <= 2_080
    events = reader.events().events
    assert [sum(event.kind == kind for event in events) for kind in ("genotype", "mutation")] == [30, 30]
    assert reader.state() == "finished"


def test_a_missing_browser_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a Chromium browser"):
        run(LongRunBench(chromium=str(tmp_path / "nothing")))


@pytest.mark.parametrize("setting", [{"scalars": 10}, {"genotypes": 0}, {"settle": -1.0}, {"watch": 0.0}])
def test_settings_of_the_long_run_outside_their_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        LongRunBench(**setting)


def test_the_summary_of_a_long_run_names_bytes_and_seconds() -> None:
    figures = {"scalars": 1_000_000, "genotypes": 5_000, "first_plot_s": 3.25, "first_plot_server_s": 2.5}
    figures |= {"first_plot_bytes": 5_600_000, "settled_bytes": 6_100_000, "standing_bytes_per_s": 1500.0}
    text = str(summary({"results": {**figures, "server_memory_bytes": 300 * 2**20}}))
    for part in (
        "1,000,000 scalars, 5,000 genotypes",
        "5.60 MB",
        "6.10 MB",
        "1.5 kB/s",
        "300 MiB",
        "2.5 s of the server",
    ):
        assert part in text
