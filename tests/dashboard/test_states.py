"""Each state that a store or a run can be in has a clear sentence, on the live page and in the list of runs."""

import ctypes
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from lab.store.schema import DATABASE, SCHEMA

NAN, INFINITE = float("nan"), float("inf")


def change(path: Path, query: str, *values: Any) -> None:
    """Write into a run that has ended what its trainer no longer can."""
    with closing(sqlite3.connect(path / DATABASE)) as connection, connection:
        connection.execute(query, values)


def first_step(run: Any) -> None:
    """Nothing is written yet."""


def no_numbers(run: Any) -> None:
    run.steps(0, 3)
    run.steps(3, 1, loss=NAN)
    run.steps(4, 1, loss=INFINITE)


def killed(run: Any) -> None:
    run.steps(0, 5)
    run.run.finish()
    # A process that began in 1970 is not there any more.
    change(run.path, "UPDATE attempt SET state = 'running', text = '', created = 0")


def stale(run: Any) -> None:
    run.steps(0, 5)
    run.run.finish()
    change(run.path, "UPDATE attempt SET state = 'running', text = '', heartbeat = ?", time.time() - 60)


def foreign(run: Any) -> None:
    run.run.finish()
    for path in run.path.iterdir():
        path.unlink()
    (run.path / DATABASE).write_bytes(b"a file of another program" * 100)


def newer(run: Any) -> None:
    run.run.finish()
    change(run.path, f"PRAGMA user_version = {SCHEMA + 1}")


STATES: dict[str, tuple[Callable[[Any], None], str, str, str]] = {
    "first step": (first_step, "has not finished its first step yet", "running", "The run is training."),
    "NaN and infinite": (no_numbers, "loss was NaN or infinite 2 times, first at step 3", "running", "is training"),
    "killed": (killed, "The run is dead or stuck: no heartbeat; process", "stale", "ended without closing the run"),
    "stale": (stale, "The run is dead or stuck: no heartbeat from process", "stale", "no heartbeat from"),
    "foreign file": (
        foreign,
        "This run cannot be read: expected a readable run database",
        "unreadable",
        "not a database",
    ),
    "newer schema": (
        newer,
        f"This run cannot be read: expected schema {SCHEMA} or older",
        "unreadable",
        "Read it with a newer lab",
    ),
}
"""State -> what brings a run there, what its live page says, its state and its reason in the list of runs."""


@pytest.mark.parametrize("state", STATES)
def test_a_run_in_this_state_has_a_clear_page_and_a_clear_row(
    page: Any, recorder: Callable[..., Any], state: str
) -> None:
    bring, sentence, word, reason = STATES[state]
    run = recorder("one")
    bring(run)
    assert sentence in page.open("one").text
    page.app.switch_page("app_pages/runs.py")
    (row,) = page.tick().app.dataframe[0].value.to_dict("records")
    assert (row["run"], row["state"]) == ("one", word)
    assert reason in row["reason"]


def test_a_store_without_runs_has_a_clear_page(page: Any, root: Path) -> None:
    for name in ("live", "runs"):
        page.app.switch_page(f"app_pages/{name}.py")
        assert f"No run yet in {root}" in page.open().text
        assert not page.app.error


def test_a_run_that_is_deleted_while_it_is_shown_is_said(
    page: Any, second_page: Any, recorder: Callable[..., Any], root: Path
) -> None:
    recorder("other").run.finish()
    run = recorder("one")
    run.steps(0, 2)
    page.open("one")
    second_page.open(compare="one")
    second_page.app.switch_page("app_pages/runs.py")
    assert len(second_page.tick().app.dataframe[0].value) == 2
    run.run.finish()
    shutil.rmtree(run.path)
    assert f"No run named one in {root}. Choose one in the sidebar." in page.tick().text
    assert not page.kpis
    assert list(second_page.tick().app.dataframe[0].value["run"]) == ["other"]


class CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySet(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


WRITES_ANYWHERE = 1 << 1
"""Root's right to write where no mode allows it, CAP_DAC_OVERRIDE; that to read stays, as the page reads its files."""


@contextmanager
def without_rights(rights: int) -> Iterator[None]:
    """Take these of root's rights from this thread and those that it starts; then give back what it had.

    Args:
        rights: their bits, as in capabilities(7).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = CapabilityHeader(0x20080522, 0), (CapabilitySet * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())
    had = sets[0].effective

    def allow(effective: int) -> None:
        sets[0].effective = effective
        assert libc.capset(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())

    allow(had & ~rights)
    try:
        yield
    finally:
        allow(had)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write into `folder`, and this process has no rights beyond that."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        with without_rights(WRITES_ANYWHERE) if os.geteuid() == 0 else nullcontext():
            yield
    finally:
        folder.chmod(0o755)


def test_a_run_in_a_read_only_folder_is_shown_and_says_why_it_takes_no_command(
    page: Any, recorder: Callable[..., Any], root: Path
) -> None:
    run = recorder("one")
    run.steps(0, 5)
    run.run.finish()
    change(run.path, "UPDATE attempt SET state = 'running', text = '', heartbeat = ?", time.time() + 600)
    page.open("one")
    with read_only(run.path):
        assert page.tick().kpis["Step"] == "4"
        page.press("checkpoint")
        assert "The command was not sent: expected a run folder" in page.text
        assert "Grant write permission." in page.text
        page.app.switch_page("app_pages/runs.py")
        page.tick().app.text_input(key="title_one").set_value("a title")
        page.app.button(key="save_label").click()
        assert "that can be written" in page.tick().app.error[0].value
