"""Where nobody reads the output any more, as after `lab ... | head`, there is no traceback."""

import os
import subprocess
import sys

import pytest

from lab.cli import main
from lab.cli import runs as runs_command
from lab.store import RunWriter

LAB = [sys.executable, "-m", "lab.cli"]


def closed(command, *, errors=subprocess.PIPE, unbuffered=""):
    """Exit code and error stream of a command whose output's reader is gone before it begins."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process:
        process.stdout.close()
        errors = process.stderr.read() if process.stderr else ""
    return process.returncode, errors


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["runs", "--save-dir", "."], ["train", "--describe"]]
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "at a write"])
def test_a_reader_that_leaves_is_no_error(arguments, unbuffered):
    assert closed([*LAB, *arguments], unbuffered=unbuffered) == (141, "")


def test_a_list_that_is_longer_than_the_pipe_ends_quietly(tmp_path):
    for number in range(3):
        RunWriter(tmp_path, f"run-{number}", {}).finish()
    command = f"{sys.executable} -m lab.cli runs --json --save-dir {tmp_path} | head -1"
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("[\n", "")


def test_both_streams_may_lose_their_reader():
    """As in `lab trian 2>&1 | head -0`."""
    assert closed([*LAB, "trian"], errors=subprocess.STDOUT)[0] == 141


def test_another_pipe_that_breaks_is_an_error(monkeypatch):
    def fail(arguments):
        raise BrokenPipeError(32, "a worker is gone")

    monkeypatch.setattr(runs_command, "run", fail)
    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        main(["runs"])
