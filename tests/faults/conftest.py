"""The process that makes trials: each a run on which one thing goes wrong, in forks of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


class Trials:
    """Asks the process for one trial after another."""

    def __init__(self, process, folder):
        self.process, self.folder, self.count = process, folder, 0

    def __call__(self, recipe, fault, at=1, *, operation="", kind="database", seed=0):
        """What became of a run of `recipe` with this fault; the first run of a recipe has none."""
        self.count += 1
        folder = self.folder / str(self.count)
        task = {"recipe": recipe, "fault": fault, "at": at, "operation": operation, "kind": kind, "seed": seed}
        self.process.stdin.write(json.dumps({**task, "folder": str(folder)}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process that makes trials has ended"
        shutil.rmtree(folder, ignore_errors=True)
        return json.loads(answer)


@pytest.fixture(scope="session")
def trials(tmp_path_factory):
    """Makes trials, faults in calls included; skipped by name where that needs what is not here."""
    folder = tmp_path_factory.mktemp("trials")
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("faults in calls on files need Linux and a C compiler")
    library = folder / "faulty_files.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "faulty_files.c", "-ldl"], check=True)
    command = [sys.executable, str(HERE / "trial.py")]
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Trials(process, folder)
        process.stdin.close()
