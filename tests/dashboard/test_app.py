"""The page's server: Streamlit, and Plotly's script as a file that the browser is told of with the page."""

import sys
import urllib.request
from pathlib import Path
from typing import Any

import plotly
import pytest
from components import resources
from components.feed import SnapshotFeed
from components.scripts import PLOTLY, PLOTLY_ADDRESS

from lab.cli.serve import dashboard_server, free_port


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with dashboard_server(free_port(), tmp_path_factory.mktemp("runs")) as found:
        yield found


def test_plotlys_script_is_a_file_that_a_browser_may_keep(address: str) -> None:
    with urllib.request.urlopen(address + PLOTLY_ADDRESS) as answer:
        body = answer.read()
        kept = answer.headers["Cache-Control"]
        kind = answer.headers["Content-Type"]
    assert body == (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    assert "immutable" in kept
    assert kind.startswith("text/javascript")
    assert plotly.__version__ in PLOTLY_ADDRESS, "another version is another address"
    assert PLOTLY_ADDRESS in PLOTLY


def test_the_run_of_the_address_is_read_before_the_page_asks_for_it(
    root: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorder()
    run.steps(0, 10)
    monkeypatch.setenv("LAB_RUNS", str(root))
    monkeypatch.setattr(sys, "argv", ["app.py"])
    resources.feed_of.clear()
    read: list[str] = []
    refresh = SnapshotFeed.refresh

    def noted(feed: SnapshotFeed, *arguments: Any, **options: Any) -> Any:
        read.append(feed.run_dir.name)
        return refresh(feed, *arguments, **options)

    monkeypatch.setattr(SnapshotFeed, "refresh", noted)
    for name in ("run", "no-run", "", ".."):
        resources.read_ahead(name)
    (root / "empty").mkdir()
    resources.read_ahead("empty")
    assert read == ["run"], "what is no run is left to the page"
    assert resources.feed_of(str(root / "run")).refresh().series("loss").step.tolist() == list(range(10))


def test_the_browser_is_told_with_the_page_that_it_will_want_plotly(address: str) -> None:
    with urllib.request.urlopen(f"{address}/?run=a") as answer:
        assert answer.headers["Link"] == f"<{PLOTLY_ADDRESS}>; rel=preload; as=script"
    with urllib.request.urlopen(f"{address}/_stcore/health") as answer:
        assert answer.headers["Link"] is None
