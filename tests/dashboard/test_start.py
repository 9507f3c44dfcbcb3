"""A run that the page starts: what is offered, what is refused, what two tabs say until it trains."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from components import start
from components.start import RunRequest, TrainChoices, read_choices

from lab.base import ConfigError, StoreError
from lab.cli import main
from lab.store import launch, list_runs

CHOICES = TrainChoices(
    datasets={"aso-se": ("digits",), "agent": ("digits", "shapes")},
    missing=("mnist",),
    budgets=frozenset({"aso-se"}),
    epochs={"aso-se": None, "agent": 65},
)


@pytest.fixture(scope="module")
def described() -> TrainChoices:
    """What the command itself lists."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["train", "--describe", "--json"]) == 0
    return read_choices(said.getvalue())


def test_what_is_offered_is_what_the_command_describes(described: TrainChoices) -> None:
    assert list(described.datasets) == ["aso-se", "fixed", "agent", "multitask", "text"]
    assert described.datasets["aso-se"][:2] == ("digits", "shapes")
    assert (described.datasets["multitask"], described.datasets["text"]) == (("multitask",), ("sentences",))
    assert described.budgets == {"aso-se", "fixed"}
    assert (described.epochs["text"], described.epochs["aso-se"]) == (10, None)


def test_a_data_set_that_is_not_here_is_not_offered() -> None:
    sets = [{"name": name, "found": name != "mnist", "recipes": ["fixed"]} for name in ("digits", "mnist")]
    lengths = {"fixed": {"budget": True, "epochs": None}, "text": {"budget": False, "epochs": 10}}
    found = read_choices(json.dumps({"recipes": ["fixed", "text"], "datasets": sets, "lengths": lengths}))
    assert (found.datasets, found.missing) == ({"fixed": ("digits",)}, ("mnist",))


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({"minutes": 0.5}, ["--budget", "30s"]),
        ({"minutes": 2.0}, ["--budget", "120s"]),
        ({"epochs": 3}, ["--epochs", "3"]),
    ],
)
def test_the_command_is_the_one_of_a_terminal(tmp_path: Path, fields: dict[str, Any], length: list[str]) -> None:
    request = RunRequest(recipe="aso-se", dataset="digits", seed=7, **fields)
    request.check(CHOICES)
    program, *words = request.command(tmp_path / "one")
    assert program == sys.executable
    assert words[:4] == ["-P", "-m", "lab", "train"]
    assert words[4:] == [
        *("aso-se", "--dataset", "digits", "--seed", "7"),
        *length,
        *("--save-dir", str(tmp_path), "--name", "one"),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": "dream", "minutes": 1}, "expected recipe to be one of aso-se, agent, got 'dream'"),
        ({"dataset": "mnist", "minutes": 1}, "expected data set of aso-se to be one of digits, got 'mnist'"),
        ({"seed": -1, "minutes": 1}, "expected seed >= 0"),
        ({"epochs": 0}, "expected epochs >= 1"),
        ({"minutes": 0.0}, "expected minutes > 0"),
        ({}, "expected minutes of training or epochs, got 0 of the two"),
        ({"minutes": 1, "epochs": 1}, "got 2 of the two"),
        ({"recipe": "agent", "minutes": 1}, "expected epochs of recipe agent"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_starts_nothing(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    request = RunRequest(**{"recipe": "aso-se", "dataset": "digits", **fields})
    with pytest.raises(ConfigError, match=message):
        start.start_run(tmp_path, "one", request, CHOICES, str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "kind"), [("a/b", ConfigError), ("..", ConfigError), ("taken", StoreError)])
def test_a_name_that_no_run_may_have_starts_nothing(
    tmp_path: Path, recorder: Callable[..., Any], root: Path, name: str, kind: type[Exception]
) -> None:
    recorder("taken")
    request = RunRequest(recipe="aso-se", dataset="digits", epochs=1)
    with pytest.raises(kind, match="expected"):
        start.start_run(root, name, request, CHOICES, str(tmp_path))
    assert [path.name for path in root.iterdir()] == ["taken"]
    assert launch.read(root / "taken") is None


@pytest.mark.parametrize(
    ("code", "message"),
    [("import sys; sys.exit('lab: out of luck')", "got lab: out of luck"), ("print(1)", "got TypeError")],
)
def test_a_command_that_does_not_list_what_can_be_trained_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(start, "lab_command", lambda *words: [sys.executable, "-c", code])
    with pytest.raises(StoreError, match=f"expected what can be trained, from lab train --describe, {message}"):
        start.train_choices.__wrapped__(str(tmp_path))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[Callable[[str], None]]:
    """Sets the code that a started run executes in place of a training; what it started is killed at the end."""
    monkeypatch.setattr(start, "train_choices", lambda folder: CHOICES)

    def choose(code: str) -> None:
        monkeypatch.setattr(RunRequest, "command", lambda request, run_dir: [sys.executable, "-c", code])

    yield choose
    for run in list_runs(root):
        launched = launch.read(run.path)
        if launched is not None and launched.process.alive():
            psutil.Process(launched.process.pid).kill()


def runs_page(page: Any) -> Any:
    # Before its first run: later the page itself says whether the place is open.
    page.app.switch_page("app_pages/runs.py")
    return page.open(start="true")


def begin(page: Any, name: str) -> Any:
    runs_page(page).app.text_input(key="start_name").set_value(name)
    (button,) = [each for each in page.tick().app.button if each.label == "Start"]
    button.click()
    page.tick()
    # The page has gone there; the harness runs the page that it was told to.
    page.app.switch_page("app_pages/live.py")
    return page


def until(page: Any, text: str) -> None:
    end = time.monotonic() + 60
    while text not in page.tick().text:
        assert time.monotonic() < end, page.text
        time.sleep(0.05)


def test_two_tabs_say_that_a_run_is_starting_and_that_it_was_stopped(
    page: Any, second_page: Any, command: Callable[[str], None]
) -> None:
    command("import time; print('importing torch', flush=True); time.sleep(60)")
    assert "The run is starting: process" in begin(page, "one").text
    until(page, "importing torch")
    table = runs_page(second_page).app.dataframe[0].value.set_index("run")
    assert table["state"].to_dict() == {"one": "starting"}
    assert second_page.clocks == [2.0]
    (start_button,) = [each for each in second_page.app.button if each.label == "Start"]
    assert start_button.disabled, "one starts at a time"
    second_page.app.switch_page("app_pages/live.py")
    (stop,) = [each for each in second_page.open("one").app.button if each.label == "Stop"]
    stop.click()
    second_page.tick()
    for each in (page, second_page):
        until(each, "The run did not begin: lab: stopped by SIGTERM")
    assert not [each for each in page.app.button if each.label == "Stop"]


def test_a_command_that_refuses_is_quoted(page: Any, command: Callable[[str], None], root: Path) -> None:
    command("import sys; sys.exit('lab: expected a budget, got [none]')")
    begin(page, "one")
    until(page, "The run did not begin: lab: expected a budget, got [none]")
    assert f"The end of {root / 'one' / launch.LOG}:" in page.text


def test_a_name_that_is_wrong_is_said_on_the_page(page: Any, command: Callable[[str], None], root: Path) -> None:
    command("raise AssertionError")
    begin(page, "a b")
    assert "Nothing was started: expected a run name of letters" in page.text
    assert not root.exists()


def test_a_page_over_recorded_runs_starts_none(
    page: Any, command: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(start.FOLDER, "")
    assert "Start a run" not in [each.label for each in runs_page(page).app.expander]
    monkeypatch.delenv(start.FOLDER)
    assert "Start a run" in [each.label for each in page.tick().app.expander]


def test_an_empty_store_offers_to_start_one(page: Any, command: Callable[[str], None]) -> None:
    assert "Start a run" in [each.label for each in page.open().app.expander]
    assert "lab train --dataset NAME --download" in page.open(start="true").text
