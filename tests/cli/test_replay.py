"""`lab demo --replay`: the recorded run that comes with the lab, without a training and without torch."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lab.base import StoreError
from lab.cli import main, replay
from lab.store import RunReader

SCRIPT = """
import sys, threading
from lab.cli import dashboard, main, serve
def served(address, *, browser):
    import psutil, urllib.request
    (server,) = psutil.Process().children()
    with urllib.request.urlopen(address) as answer:
        sys.stdout.write(f"{answer.status} {address.partition('/?')[2]} {server.environ()[serve.FOLDER]!r}\\n")
dashboard.show, dashboard.stay = served, lambda: None
code = main(["demo", "--replay", "--port", str(serve.free_port())])
found = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "torchvision", "sklearn", "streamlit"})
sys.stdout.write(f"{code} {found}\\n")
"""


def test_the_page_is_served_on_the_recorded_run_without_torch() -> None:
    # A process of its own: this one may have torch.
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    answered, ended = done.stdout.splitlines()
    # The empty folder: nothing can be started beside the recording.
    assert answered == "200 run=digits&view=wall&step=0&play=1 ''"
    assert ended == "0 []"


def test_headless_says_in_words_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--replay", "--headless"]) == 0
    assert "a recorded run" in capsys.readouterr().out
    assert main(["demo", "--replay", "--headless", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    summary = RunReader(found["run"]).summary()
    assert (summary.state, summary.last_step) == ("finished", found["steps"])
    assert found["mutations"] >= found["kept"] > 0
    assert found["test_accuracy"] > 0.9


def test_options_of_a_training_beside_it_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--replay", "--seed", "3", "--train-limit", "9"]) == 2
    assert "got --train-limit, --seed. Remove --train-limit, --seed: nothing is trained" in capsys.readouterr().err


def test_an_installation_without_the_recorded_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "resource", lambda name: tmp_path / name)
    with pytest.raises(StoreError, match="the recorded run among the lab's files, found no"):
        replay.recorded_runs()


def test_what_is_recorded_is_small_whole_and_of_no_one() -> None:
    files = [path for path in replay.recorded_runs().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert connection.execute("SELECT host, state FROM attempt").fetchall() == [("", "finished")]
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    fixed = RunReader(replay.recorded_runs() / "digits-fixed")
    assert fixed.config()["recipe"] == "fixed"
