"""A run that another process starts: its process, its log, its state before it has a database, its end."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab.base import ConfigError, StoreError
from lab.store import RunWriter, delete_run, launch, list_runs
from lab.store.schema import DATABASE

STUBBORN = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(child.pid, flush=True)
time.sleep(60)
"""


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Starts Python code as a run and gives its folder; what still lives at the end is killed."""
    begun: list[launch.Launch] = []

    def start(name: str, code: str) -> Path:
        begun.append(launch.start(tmp_path / name, [sys.executable, "-c", code], tmp_path))
        return tmp_path / name

    yield start
    for each in begun:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.process.alive():
                psutil.Process(each.process.pid).kill()


def test_the_process_stands_alone_and_its_output_is_in_the_log(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", "import os, sys; print(os.getsid(0) == os.getpid()); print(sys.stdin.read() == '', os.getcwd())")
    until(lambda: launch.state(run)[0] == "failed")
    assert launch.last_lines(run) == ("True", f"True {run.parent}")
    assert launch.read(run).command[0] == sys.executable


def test_a_run_is_starting_until_its_process_ends_or_it_has_a_database(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", "import time; time.sleep(60)")
    state, reason = launch.state(run)
    assert (state, reason) == ("starting", f"{launch.read(run).process} has not begun to train yet")
    assert [(each.name, each.state) for each in list_runs(run.parent)] == [("one", "starting")]
    with pytest.raises(StoreError, match="expected a run that has ended"):
        delete_run(run)
    with RunWriter(run.parent, "one", {}):
        assert launch.state(run) is None
        assert [each.state for each in list_runs(run.parent)] == ["running"]


def test_a_run_whose_process_ended_before_it_began_has_failed_and_says_why(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", "import sys; print('loading'); sys.exit('lab: expected a budget, got none')")
    until(lambda: launch.state(run)[0] == "failed")
    (found,) = list_runs(run.parent)
    assert (found.state, found.reason) == ("failed", "lab: expected a budget, got none")
    delete_run(run)
    assert not run.exists()


def test_a_process_that_says_nothing_has_failed_too(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", "")
    until(lambda: launch.state(run)[0] == "failed")
    assert "ended before it began to train, and said nothing" in launch.state(run)[1]


def test_a_run_that_ends_by_itself_gets_no_signal(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", "import time; time.sleep(0.3); print('stopped')")
    assert launch.end(run, stop_seconds=60) == ""
    assert launch.last_lines(run) == ("stopped",)


def test_a_run_that_does_not_stop_gets_sigterm(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", "import time; time.sleep(60)")
    assert launch.end(run, stop_seconds=0.1) == "SIGTERM"
    assert launch.last_lines(run) == ("lab: it did not end within 0.1 s: SIGTERM",)
    assert launch.end(run, stop_seconds=60) == "", "it has ended"


def test_a_run_that_ignores_sigterm_is_killed_with_its_children(begin: Callable[[str, str], Path]) -> None:
    run = begin("one", STUBBORN)
    until(lambda: launch.last_lines(run))
    child = int(launch.last_lines(run)[0])
    assert launch.end(run, stop_seconds=0.0, term_seconds=0.3) == "SIGKILL"
    until(lambda: not launch.read(run).process.alive() and not psutil.pid_exists(child))
    assert launch.last_lines(run)[-1] == "lab: it did not end within 0.3 s more: SIGKILL"


def test_a_run_that_nobody_launched_is_left_alone(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "one", {}):
        assert launch.end(tmp_path / "one", stop_seconds=0.0, term_seconds=0.0) == ""
        assert launch.read(tmp_path / "one") is None


def test_a_name_that_is_taken_or_illegal_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(StoreError, match="expected no run in .*one yet, got an existing folder"):
        launch.start(tmp_path / "one", [sys.executable], tmp_path)
    with pytest.raises(ConfigError, match="expected a run name"):
        launch.start(tmp_path / "a b", [sys.executable], tmp_path)
    with pytest.raises(StoreError, match="expected a command that starts in"):
        launch.start(tmp_path / "two", [str(tmp_path / "no-program")], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"command": ["a"]}', '{"command": [], "process": {}, "started": 1}'])
def test_a_damaged_record_of_a_launch_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / launch.LAUNCH).write_text(text)
    assert launch.read(tmp_path) is None
    assert launch.state(tmp_path) is None
    assert not (tmp_path / DATABASE).exists()
