"""Commands of a person to a running trainer: one small file each, put into place by an atomic rename.

The folder `control` of a run exists only while commands wait in it, so that a trainer that asks at every step pays for
one failed look-up. The answer to a command is a control event in the run database. What is no command is told once and
moved into the folder `refused`.
"""

import contextlib
import json
import math
import os
import stat
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.base import ConfigError, StoreError, parse_json
from lab.store.schema import DATABASE

FOLDER = "control"
REFUSED = "refused"
"""Folder of a run that holds what lay in `FOLDER` and was no command."""
LARGEST_FILE = 65_536
"""Bytes; a command has about a hundred."""
ASK_SECONDS = 0.05
"""Least time between two looks of an `Inbox`: less than a person notices."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "pause": (),
    "resume": (),
    "stop": (),
    "checkpoint": (),
    "mutate": (),
    "set_temperature": ("temperature",),
    "release_temperature": (),
}
"""Each command with the names of its arguments."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that was sent to a run."""

    name: str
    """One of `COMMANDS`, or `unreadable`: a file that is no command; `arguments` then holds `file` and `reason`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    sent: float = 0.0
    """Time of sending, seconds since 1970."""


def send(run_dir: Path | str, command: str, **arguments: Any) -> Path:
    """Leave `command` for the trainer of `run_dir`; the path of its file, which is gone once the trainer took it.

    Raises:
        ConfigError: an unknown command, a missing, unknown or illegal argument.
        StoreError: no run in that folder, or a folder that cannot be written.
    """
    _check(command, arguments)
    run = Path(run_dir)
    if not (run / DATABASE).exists():
        raise StoreError(f"a run in {run}", f"no {DATABASE} there", "give the folder of a run")
    text = json.dumps({"command": command, "arguments": arguments, "sent": time.time()})
    temporary = run / f".command-{uuid.uuid4().hex}"
    try:
        temporary.write_text(text, encoding="utf-8")
        return _put(temporary, run / FOLDER)
    except OSError as error:
        raise StoreError(f"a run folder {run} that can be written", str(error), "grant write permission") from error


class Inbox:
    """The commands for one trainer, which may ask at every step.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._next_look = -math.inf

    def take(self) -> tuple[Command, ...]:
        """Commands that wait; the folder is looked at `ASK_SECONDS` after the look before at the earliest."""
        # The look-up is a system call; between two training steps, with cold caches, it takes 30 us.
        now = time.monotonic()
        if now < self._next_look:
            return ()
        self._next_look = now + ASK_SECONDS
        return poll(self.run_dir)


def poll(run_dir: Path | str) -> tuple[Command, ...]:
    """The commands that wait for the trainer of `run_dir`, in order of sending; each is given once."""
    folder = os.path.join(run_dir, FOLDER)
    # Asked often, and nearly always there is none: the question costs a third of the error.
    if not os.access(folder, os.F_OK):
        return ()
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return _refuse(Path(folder), _reason(error))
    files = [Path(folder, name) for name in sorted(names) if name.endswith(".json")]
    commands = [command for file in files for command in _take(file)]
    # Refused where another command has just come; it stays for the next call.
    with contextlib.suppress(OSError):
        os.rmdir(folder)
    return tuple(commands)


def _check(command: str, arguments: dict[str, Any]) -> None:
    if command not in COMMANDS:
        raise ConfigError(f"a command among {', '.join(COMMANDS)}", repr(command), "choose one of these")
    expected = COMMANDS[command]
    if not isinstance(arguments, dict) or set(arguments) != set(expected):
        names = " and ".join(expected) or "no argument"
        raise ConfigError(f"{names} for {command}", f"{sorted(arguments)}", "give just these")
    if command == "set_temperature":
        value = arguments["temperature"]
        if type(value) not in (int, float) or not 0 < _finite(value) < math.inf:
            raise ConfigError("temperature > 0 and finite", f"temperature = {value!r}", "choose a value in range")


def _finite(value: float) -> float:
    """`value` as a float; infinity for a whole number that is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _put(temporary: Path, folder: Path) -> Path:
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        try:
            # Never before a command that waits already, whatever the clock did.
            waiting = [int(name[:20]) for name in os.listdir(folder) if name[:20].isascii() and name[:20].isdecimal()]
            number = max([time.time_ns(), *(count + 1 for count in waiting)])
            # Twenty digits: names that sort as texts are then in order of sending.
            target = folder / f"{number:020d}-{temporary.name[-32:]}.json"
            temporary.rename(target)
        except FileNotFoundError:
            # The trainer took the last command and the folder with it, between two lines above.
            if not temporary.exists():
                raise
            continue
        return target


def _take(path: Path) -> tuple[Command, ...]:
    """The command in `path`, which is then gone; an `unreadable` one where it is none, told once."""
    try:
        facts = path.lstat()
        # A pipe or a device would hold the training up.
        if not stat.S_ISREG(facts.st_mode):
            return _refuse(path, "no regular file")
        if facts.st_size > LARGEST_FILE:
            return _refuse(path, f"{facts.st_size} bytes, {LARGEST_FILE} at most")
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        return _refuse(path, _reason(error))
    try:
        data = parse_json(text)
        command, arguments, sent = data["command"], data["arguments"], float(data["sent"])
        _check(command, arguments)
    except (ValueError, TypeError, KeyError, OverflowError, ConfigError) as error:
        return _refuse(path, _reason(error))
    try:
        path.unlink()
    except FileNotFoundError:
        return ()
    except OSError as error:
        return _refuse(path, _reason(error))
    return (Command(name=command, arguments=arguments, sent=sent),)


_stuck: set[Path] = set()
"""What could be neither taken nor moved aside, and has been told."""


def _refuse(path: Path, reason: str) -> tuple[Command, ...]:
    """Move what is no command out of the way; what to tell of it, nothing for a second time."""
    if path in _stuck:
        return ()
    run_dir = path.parent.parent if path.parent.name == FOLDER else path.parent
    try:
        (run_dir / REFUSED).mkdir(exist_ok=True)
        path.rename(run_dir / REFUSED / f"{time.time_ns()}-{path.name[-100:]}")
    except FileNotFoundError:
        return ()
    except OSError:
        _stuck.add(path)
    name = path.name.encode("utf-8", "backslashreplace").decode()
    return (Command(name="unreadable", arguments={"file": name, "reason": reason}),)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
