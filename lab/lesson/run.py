"""A training run in a process of its own, and its end.

Covers one process that this one started. It is asked to stop through the run's control folder, then by SIGTERM, then by
SIGKILL; no other process is ever signalled. A handle that is lost, and the end of the interpreter, end the process too.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import psutil

import lab
from lab.base import ConfigError, StoreError, TrainingError, require_range
from lab.store import RunReader, control, new_run_name
from lab.store.process import end_process

TRAIN: tuple[str, ...] = (sys.executable, "-m", "lab.cli", "train")
"""The program that trains; it takes `--save-dir ROOT --name NAME` behind it."""
KILL_SECONDS = 5.0
"""Time between SIGTERM and SIGKILL."""
NICENESS = 10
"""Of the training process."""
ASK_SECONDS = 2.0
"""Time after which a command that was taken, yet not obeyed, is sent again."""
OWN_OPTIONS = ("--save-dir", "--save_dir", "--name")


class RunHandle:
    """A training process that this process started, and the folder of its run."""

    def __init__(self, process: "subprocess.Popen[bytes]", run_dir: Path, log_path: Path) -> None:
        self.run_dir = run_dir
        self.log_path = log_path
        """What the process writes to its standard output and error."""
        self._process = process
        # Holds the process and not the handle, which a reference to itself would keep alive.
        self._end = weakref.finalize(self, end_process, process, KILL_SECONDS)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What the process ended with (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return self.exit_code is None

    def log(self, lines: int = 20) -> str:
        """The last `lines` lines that the process wrote."""
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def reader(self) -> RunReader | None:
        """A reader of the run, or None while the process has not begun to write it.

        Raises:
            TrainingError: the process ended without a run.
        """
        # Asked before the run is looked for: else one that was written in between would be missed.
        ended = not self.running
        try:
            return RunReader(self.run_dir)
        except StoreError as error:
            if not ended:
                return None
            raise TrainingError(
                f"a run in {self.run_dir.name}",
                f"a process that ended with exit code {self.exit_code}: {self.log(3) or 'it wrote nothing'}",
                "read its log and correct the arguments",
            ) from error

    def wait_ready(self, timeout: float = 60.0) -> RunReader:
        """The run's reader as soon as the process writes it.

        Raises:
            TrainingError: the process ended without a run, or wrote none within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (reader := self.reader()) is None:
            if time.monotonic() > deadline:
                raise TrainingError(f"a run within {timeout:g} s", "none", f"read the log: {self.log(3)}")
            time.sleep(0.05)
        return reader

    def stop(self, grace: float = 20.0) -> str:
        """End the process and say how: ended by itself, stopped when asked, ended by SIGTERM or SIGKILL.

        Args:
            grace: seconds that the run gets to obey the command `stop`, >= 0; it writes its last checkpoint in them.
        """
        require_range("grace", grace, 0.0)
        if not self.running:
            self._end.detach()
            return "ended by itself"
        # A run that has not begun yet has no folder to leave the command in; the signal below ends it.
        with contextlib.suppress(StoreError):
            self._ask(grace)
        asked = not self.running
        self._end()
        if asked:
            return "stopped when asked"
        return "ended by SIGTERM" if self.exit_code != -signal.SIGKILL else "ended by SIGKILL"

    def _ask(self, grace: float) -> None:
        """Send `stop` until the process has ended or `grace` seconds have passed.

        Again and again, because a run refuses what was sent while it was still opening its store.
        """
        deadline = time.monotonic() + grace
        command = None
        while self.running and (left := deadline - time.monotonic()) > 0:
            if command is None or not command.exists():
                command = control.send(self.run_dir, "stop")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(min(left, ASK_SECONDS))
        if command is not None:
            command.unlink(missing_ok=True)

    def __enter__(self) -> "RunHandle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with exit code {self.exit_code}"
        return f"run {self.run_dir.name}: process {self.pid}, {state}"


def start_run(
    args: Sequence[str], *, root: Path | str, name: str | None = None, program: Sequence[str] = TRAIN
) -> RunHandle:
    """Start a training run in another process and return at once.

    Args:
        args: options of `lab train`, one text each, for instance `["--dataset", "digits", "--epochs", "12"]`.
        root: folder of the runs; made where it is missing. The log lies there as `NAME.log`.
        name: the run's folder in `root`; None makes one from date and time.
        program: what is started; it gets `args` and `--save-dir ROOT --name NAME`.

    Returns:
        A handle that is a context manager: the process has ended where the block ends.

    Raises:
        ConfigError: `args` is one text, holds something else than texts, or names the run's place itself.
        TrainingError: there is a run of that name, or the program cannot be started.
    """
    if isinstance(args, str) or not all(isinstance(arg, str) for arg in args):
        raise ConfigError("a list of texts", repr(args), 'write each option and each value apart: ["--epochs", "3"]')
    own = [arg for arg in args if arg.split("=")[0] in OWN_OPTIONS]
    if own:
        raise ConfigError("the run's place as root and name", " ".join(own), "give root=... and name=... instead")
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    name = new_run_name(folder) if name is None else name
    run_dir, log_path = folder / name, folder / f"{name}.log"
    if run_dir.exists():
        raise TrainingError(f"no run {name} in {folder}", "one that exists", "choose another name")
    command = [*program, *args, "--save-dir", str(folder.resolve()), "--name", name]
    try:
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
            )
    except OSError as error:
        raise TrainingError("a program that starts", f"{command[0]}: {error}", "check the program's path") from error
    if os.name == "posix":
        # The reader's own cells go first: a run of a lesson may train for as long as the lesson is read.
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).nice(NICENESS)
    return RunHandle(process, run_dir, log_path)


def _environment() -> dict[str, str]:
    """This process's environment, with the folder of this very `lab` on the path unless it is installed."""
    folder = str(Path(lab.__file__).resolve().parents[1])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if "site-packages" in folder or folder in paths:
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([folder, *paths])}
