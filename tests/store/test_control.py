import json
import os
import threading
import time
import timeit
from pathlib import Path

import pytest

from lab.base import ConfigError, StoreError
from lab.store import COMMANDS, Command, RunWriter, control


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    RunWriter(tmp_path, "a").finish()
    return tmp_path / "a"


def test_commands_come_once_in_order_of_sending(run_dir: Path) -> None:
    names = [name for name in COMMANDS if name != "set_temperature"] * 3
    for name in names:
        control.send(run_dir, name)
    control.send(run_dir, "set_temperature", temperature=0.5)
    commands = control.poll(run_dir)
    assert [command.name for command in commands] == [*names, "set_temperature"]
    assert commands[-1].arguments == {"temperature": 0.5}
    assert abs(commands[-1].sent - time.time()) < 60
    assert control.poll(run_dir) == ()
    assert "control" not in os.listdir(run_dir)


def test_order_holds_when_the_clock_goes_back(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control.send(run_dir, "pause")
    monkeypatch.setattr(time, "time_ns", lambda: 1_000)
    control.send(run_dir, "resume")
    control.send(run_dir, "stop")
    assert [command.name for command in control.poll(run_dir)] == ["pause", "resume", "stop"]


def test_the_path_of_a_command_is_gone_once_it_was_taken(run_dir: Path) -> None:
    path = control.send(run_dir, "pause")
    assert path.parent == run_dir / "control"
    assert path.exists()
    control.poll(run_dir)
    assert not path.exists()


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("explode", {}, r"a command among pause, .*'explode'"),
        ("pause", {"temperature": 1.0}, "no argument for pause"),
        ("set_temperature", {}, "temperature for set_temperature"),
        *[
            ("set_temperature", {"temperature": value}, "temperature > 0 and finite")
            for value in (0, -1.0, float("nan"), float("inf"), "1", True)
        ],
    ],
)
def test_a_wrong_command_is_refused_at_sending(run_dir: Path, command: str, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        control.send(run_dir, command, **arguments)
    assert control.poll(run_dir) == ()


def test_a_command_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a run in"):
        control.send(tmp_path / "nothing", "stop")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"command": "explode", "arguments": {}, "sent": 1}', '{"command": "pause"}', "\xff"),
        '{"command": "pause", "arguments": {}, "sent": 1%s}' % ("0" * 400),
        '{"command": "pause", "arguments": {}, "sent": 1%s}' % ("0" * 5000),
        '{"command": "set_temperature", "arguments": {"temperature": 1%s}, "sent": 1}' % ("0" * 400),
        '{"command": "pause", "arguments": %s, "sent": 1}' % ("[" * 30_000 + "]" * 30_000),
        "[" * 200_000,
        '{"command": [], "arguments": {}, "sent": 1}',
        '{"command": "pause", "arguments": {"\\ud800": 1}, "sent": 1}',
    ],
)
def test_a_foreign_file_is_reported_and_does_not_stop_the_others(run_dir: Path, text: str) -> None:
    path = control.send(run_dir, "pause")
    (path.parent / "0-foreign.json").write_bytes(text.encode("latin-1"))
    foreign, pause = control.poll(run_dir)
    assert foreign.name == "unreadable"
    assert foreign.arguments["file"] == "0-foreign.json"
    assert foreign.arguments["reason"]
    assert pause.name == "pause"
    assert control.poll(run_dir) == ()
    assert "control" not in os.listdir(run_dir)
    (moved,) = (run_dir / "refused").iterdir()
    assert moved.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize("kind", ["folder", "full folder", "pipe", "link", "no folder at all"])
def test_what_is_no_file_is_told_once_and_moved_aside(run_dir: Path, kind: str) -> None:
    place = run_dir / "control"
    odd = place / "1.json"
    if kind == "no folder at all":
        odd = place
        odd.write_text("")
    else:
        place.mkdir()
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "link":
        odd.symlink_to("/dev/zero")
    elif kind.endswith("folder"):
        odd.mkdir()
        if kind == "full folder":
            (odd / "1.json").write_text("{}")
    (told,) = control.poll(run_dir)
    assert (told.name, told.arguments["file"]) == ("unreadable", odd.name)
    assert control.poll(run_dir) == ()
    assert len(list((run_dir / "refused").iterdir())) == 1
    control.send(run_dir, "pause")
    assert [command.name for command in control.poll(run_dir)] == ["pause"]


def test_what_cannot_be_moved_aside_is_told_once(run_dir: Path) -> None:
    (run_dir / "refused").write_text("in the way")
    path = control.send(run_dir, "pause")
    (path.parent / "1.json").mkdir()
    assert sorted(command.name for command in control.poll(run_dir)) == ["pause", "unreadable"]
    assert control.poll(run_dir) == ()


def test_a_foreign_name_does_not_stop_the_sending(run_dir: Path) -> None:
    (run_dir / "control").mkdir()
    (run_dir / "control" / ("\N{SUPERSCRIPT TWO}" * 20 + ".txt")).write_text("")
    control.send(run_dir, "pause")
    assert [command.name for command in control.poll(run_dir)] == ["pause"]


def test_a_half_written_command_is_never_taken(run_dir: Path) -> None:
    (run_dir / ".command-half").write_text(json.dumps({"command": "stop"})[:5])
    assert control.poll(run_dir) == ()


def test_no_command_is_lost_or_doubled_between_threads(run_dir: Path) -> None:
    taken: list[Command] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            taken.extend(control.poll(run_dir))

    takers = [threading.Thread(target=take) for _ in range(2)]
    senders = [
        threading.Thread(
            target=lambda first: [control.send(run_dir, "set_temperature", temperature=first + i) for i in range(100)],
            args=(base,),
        )
        for base in (1, 1001)
    ]
    for thread in (*takers, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    done.set()
    for thread in takers:
        thread.join()
    taken.extend(control.poll(run_dir))
    values = sorted(command.arguments["temperature"] for command in taken)
    assert values == [*range(1, 101), *range(1001, 1101)]


def test_asking_when_nothing_waits_costs_microseconds(run_dir: Path) -> None:
    cost = min(timeit.repeat(lambda: control.poll(run_dir), number=200, repeat=10)) / 200
    assert cost < 50e-6


def test_a_command_is_given_once_and_the_folder_is_not_looked_at_every_step(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("lab.store.control.time.monotonic", lambda: clock[0])
    with RunWriter(tmp_path, "run") as writer:
        inbox = control.Inbox(writer.run_dir)
        assert inbox.take() == ()
        control.send(writer.run_dir, "pause")
        clock[0] += 0.9 * control.ASK_SECONDS
        assert inbox.take() == ()
        clock[0] += 0.2 * control.ASK_SECONDS
        assert [command.name for command in inbox.take()] == ["pause"]
        clock[0] += 2 * control.ASK_SECONDS
        assert inbox.take() == ()
