"""Runs that another process has started, such as the page: their command, their process, their log, and their end.

The starter makes the folder of the run and puts two files there: `launch.json`, which says who runs it, and
`train.log`, what it says. The run's own database comes later, when its process has imported what it needs; until then
the state of the run is that of its process. Whoever reads the folder sees the same: nothing is kept in memory.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from lab.base import StoreError, parse_json
from lab.store.attempt import require_run_name
from lab.store.process import ProcessIdentity
from lab.store.schema import DATABASE

LAUNCH, LOG = "launch.json", "train.log"
STOP_SECONDS = 60.0
"""What a run that was asked to stop has to write its checkpoint and end, before SIGTERM."""
TERM_SECONDS = 15.0
"""What it has after SIGTERM, before SIGKILL."""
_TAIL = 20_000
"""Bytes at the end of a log that are read."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a run was started by another process."""

    command: tuple[str, ...]
    process: ProcessIdentity
    started: float
    """Seconds since 1970."""


def start(run_dir: Path, command: Sequence[str], folder: Path) -> Launch:
    """Start `command` as a process of its own, which goes on when the caller ends; its output goes to the run's log.

    Args:
        run_dir: folder of the run, which must not exist; its parent is made where it is missing.
        command: program and arguments; no shell reads them.
        folder: where the process starts, and relative paths of it begin.

    Raises:
        ConfigError: an illegal name of a run.
        StoreError: the folder exists or cannot be made, or the command cannot be started.
    """
    require_run_name(run_dir.name)
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        # Makes it, or fails: of two that begin at once, one gets the name.
        run_dir.mkdir()
    except FileExistsError as error:
        raise StoreError(f"no run in {run_dir} yet", "an existing folder", "choose another name") from error
    except OSError as error:
        raise _unwritable(run_dir.parent, error) from error
    try:
        with (run_dir / LOG).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        (run_dir / LOG).unlink(missing_ok=True)
        run_dir.rmdir()
        raise StoreError(f"a command that starts in {folder}", str(error), "start lab train in a terminal") from error
    identity = ProcessIdentity.of(process.pid)
    # Without someone who asks how it ended, an ended child stays in the process table.
    threading.Thread(target=process.wait, daemon=True).start()
    launch = Launch(command=tuple(command), process=identity, started=time.time())
    temporary = run_dir / f".{LAUNCH}"
    try:
        temporary.write_text(json.dumps(asdict(launch)), encoding="utf-8")
        os.replace(temporary, run_dir / LAUNCH)
    except OSError as error:
        process.kill()
        raise _unwritable(run_dir, error) from error
    return launch


def read(run_dir: Path | str) -> Launch | None:
    """How the run was started by another process; None where it was not, or where that cannot be read."""
    try:
        data = parse_json((Path(run_dir) / LAUNCH).read_text(encoding="utf-8"))
        process = ProcessIdentity(**data["process"])
        return Launch(command=tuple(data["command"]), process=process, started=float(data["started"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def state(run_dir: Path | str) -> tuple[str, str] | None:
    """State and reason of a run that was started and has no database yet: starting, or failed. None for all others."""
    if (Path(run_dir) / DATABASE).exists():
        return None
    launch = read(run_dir)
    if launch is None:
        return None
    if launch.process.alive() is not False:
        return "starting", f"{launch.process} has not begun to train yet"
    said = last_lines(run_dir)
    return "failed", said[-1] if said else f"{launch.process} ended before it began to train, and said nothing"


def last_lines(run_dir: Path | str, most: int = 20) -> tuple[str, ...]:
    """The last lines of a started run's log that hold a letter; none where there is no log."""
    try:
        with (Path(run_dir) / LOG).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple([line.rstrip() for line in text.splitlines() if line.strip()][-most:])


def end(run_dir: Path | str, *, stop_seconds: float = STOP_SECONDS, term_seconds: float = TERM_SECONDS) -> str:
    """See to it that a started run ends, which was asked to stop: wait, then SIGTERM, wait, then SIGKILL.

    SIGKILL ends the processes that it started too. What was sent stands in the run's log.

    Returns:
        What ended it: empty where no signal was needed, else SIGTERM or SIGKILL. A run that `start` did not start,
        one of another host, and one that has ended are left alone.
    """
    launch = read(run_dir)
    if launch is None or launch.process.alive() is not True:
        return ""
    try:
        process = psutil.Process(launch.process.pid)
        if _ended(launch, stop_seconds):
            return ""
        late = f"lab: it did not end within {stop_seconds:g} s: SIGTERM"
        _log(run_dir, late if stop_seconds else "lab: stopped by SIGTERM")
        process.terminate()
        if _ended(launch, term_seconds):
            return "SIGTERM"
        _log(run_dir, f"lab: it did not end within {term_seconds:g} s more: SIGKILL")
        for each in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                each.kill()
    except psutil.NoSuchProcess:
        return ""
    return "SIGKILL"


def end_later(run_dir: Path | str, *, stop_seconds: float = STOP_SECONDS) -> None:
    """`end` in a thread: the caller goes on."""
    options = {"stop_seconds": stop_seconds}
    threading.Thread(target=end, args=(run_dir,), kwargs=options, daemon=True).start()


def _ended(launch: Launch, seconds: float) -> bool:
    """Whether the process ends within `seconds`; asked again and again, since it may be no child of this process."""
    last = time.monotonic() + seconds
    while launch.process.alive():
        if time.monotonic() >= last:
            return False
        time.sleep(min(0.2, seconds))
    return True


def _log(run_dir: Path | str, text: str) -> None:
    # A folder may have been deleted meanwhile; the process has to end all the same.
    with suppress(OSError), (Path(run_dir) / LOG).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"a folder {folder} that can be written", str(error), "grant write permission there")
