"""Starting and ending the dashboard's server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from lab.base import DISTRIBUTION, ConfigError, StoreError, page_language, require_extra, require_range, resource
from lab.store.process import end_process

HOST = "127.0.0.1"
FOLDER = "LAB_FOLDER"
"""Environment variable of the page's server: where runs that the page starts begin; empty: it starts none."""
STARTING_SECONDS = 60.0
END_SECONDS = 5.0


def dashboard_script() -> Path:
    """The page's script.

    Raises:
        StoreError: this installation came without the folder `dashboard`.
    """
    path = resource("dashboard") / "app.py"
    if not path.is_file():
        raise StoreError("the page among the lab's files", f"no {path}", f"install {DISTRIBUTION} again")
    return path


def settings_folder(script: Path) -> Path:
    """The folder whose `.streamlit/config.toml` Streamlit reads: the script's own, in a checkout the one above."""
    return script.parent if (script.parent / ".streamlit").is_dir() else script.parents[1]


def check_port(port: int) -> None:
    """Refuse a port that is taken.

    Raises:
        ConfigError: the port is in use, or none.
    """
    require_range("port", port, 1, 65535)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A server that has just ended leaves the port in TIME_WAIT, which is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(f"a free port on {HOST}", f"port {port} in use", "give another --port") from error


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def server_command(port: int) -> list[str]:
    """The command line of the page's server: this machine only, no telemetry, no file watching."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(dashboard_script())),
        f"--server.address={HOST}",
        f"--server.port={port}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--server.showEmailPrompt=false",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=viewer",
    ]


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block like an exit, so that what it started is ended too."""
    # Python lets the main thread alone set a handler.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def dashboard_server(port: int, runs: str | Path, *, starts: bool = True) -> Iterator[str]:
    """The page over the runs of a folder, as long as the block runs; gives its address.

    Args:
        port: on this machine.
        runs: folder of runs.
        starts: whether a person can start runs there; they begin in the working folder of this process.

    Raises:
        ConfigError: the port is taken, LAB_LANG asks for a language that the page does not have, or a package of the
            extra `page` is not installed.
        StoreError: the server did not come up.
    """
    require_extra("page", "the dashboard")
    page_language()
    check_port(port)
    # Absolute: the server's working folder is another one.
    environment = {**os.environ, "LAB_RUNS": str(Path(runs).resolve()), FOLDER: os.getcwd() if starts else ""}
    script = dashboard_script()
    process = subprocess.Popen(
        server_command(port),
        cwd=settings_folder(script),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C reaches every process of the group of a terminal; this one is ended below.
        start_new_session=True,
    )
    address = f"http://{HOST}:{port}"
    try:
        with ended_by_sigterm():
            _wait_until_up(process, address)
            yield address
    finally:
        end_process(process, END_SECONDS)


def _wait_until_up(process: "subprocess.Popen[bytes]", address: str) -> None:
    waited = 0.0
    while waited < STARTING_SECONDS:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/_stcore/health"):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.2)
            raise StoreError(
                "a dashboard that starts", f"exit code {code}", "run lab doctor for the installed versions"
            )
        waited += 0.2
    raise StoreError(f"a page at {address} within {STARTING_SECONDS:g} s", "none", "run lab doctor")
