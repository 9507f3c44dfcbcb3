"""A private PostgreSQL server in a temporary folder: for measurements and tests that need one, ended with the block."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab.base import StudyError

START_SECONDS = 60


def server_programs() -> Path | None:
    """The folder of PostgreSQL's server programs; None where it is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def private_server() -> Iterator[str]:
    """The URL of an empty database on a server of our own, which listens on this machine alone.

    Commits do not wait for the disk: the folder does not outlive the server.

    Raises:
        StudyError: the programs are not installed, or the server does not start.
    """
    programs = server_programs()
    if programs is None:
        raise StudyError("PostgreSQL's server programs", "no initdb on PATH", "install postgresql, or give a URL")
    # The server refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        data, port = folder / "data", _free_port()
        make: list[str | Path] = [programs / "initdb", "-D", data, "-U", "lab", "--auth=trust", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, user=user)
        options: list[str | Path] = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "fsync=off",
            "-k",
            folder,
            "-p",
            str(port),
        ]
        command: list[str | Path] = [programs / "postgres", "-D", data, *options]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, user=user) as server,
        ):
            try:
                _wait(port, server)
                yield f"postgresql://lab@127.0.0.1:{port}/postgres"
            finally:
                # At once, whatever connections there are.
                server.send_signal(signal.SIGQUIT)
                server.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(port: int, server: "subprocess.Popen[bytes]") -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="lab", dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise StudyError("a PostgreSQL server that starts", str(error), "look at its installation") from error
            time.sleep(0.05)
        else:
            return
