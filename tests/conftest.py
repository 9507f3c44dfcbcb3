"""What all tests share: the browser, which tests run here and in which order, processes that need no import."""

import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRE_BROWSER = "LAB_REQUIRE_BROWSER"
LARGE = bool(os.environ.get("LAB_LARGE"))
"""The long forms run too."""
NO_CHROMIUM = f"no Chromium found: none of {', '.join(CHROMIUM_NAMES)} on PATH, and none of Playwright's own"

# One thread, here and in every process that a test starts: two on a busy machine of two cores wait for each other at
# every operation. Read by torch when it is first imported.
THREADS = "1"
os.environ.setdefault("OMP_NUM_THREADS", THREADS)
os.environ.setdefault("MKL_NUM_THREADS", THREADS)

# Begun first, so that no worker is left alone with one of them at the end.
LONGEST = (
    "notebooks/test_browser.py",
    "notebooks/test_execution.py",
    "agent/test_models.py",
    "morph/test_models.py",
    "agent/test_dynamic.py",
    "agent/test_endurance.py",
    "agent/test_strategy.py",
    "asose/test_growth.py",
    "asose/test_config.py",
    "multitask/test_strategy.py",
    "runs/test_kill.py",
    "tune/test_supervisor.py",
    "runs/test_checkpoint_rows.py",
    "runs/test_distributed.py",
    "morph/test_random_nets.py",
    "export/test_export.py",
    "agent/test_learner.py",
    "asose/test_darts.py",
    "dashboard/test_browser.py",
    "train/test_compile.py",
    "doctor/test_simulate.py",
    "doctor/test_process.py",
    "morph/test_optimizer.py",
    "morph/test_inserts.py",
    "experiments/test_policies.py",
    "experiments/test_growth.py",
)
# Reads one task a line, and runs its code in a fork of itself: a process of its own, which need not import torch again.
FORKS = """
import gc, importlib, json, os, sys, traceback
import sklearn.datasets, torch._dynamo
import lab.runs.build
for name in sys.argv[1:]:
    importlib.import_module(name)
# Out of the collector's way, as in `frozen`: each fork would walk all that was imported, and copy it by that.
gc.collect()
gc.freeze()
for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.argv = ["-c", *task["arguments"]]
        status = 1
        try:
            exec(compile(task["code"], "<code>", "exec"), {"__name__": "__main__"})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

# Goes before code that `run_code` runs: two ranks do it, each a fork, with the environment that torchrun gives them.
RANKS = """
import os, socket
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
pids = []
for rank in ("0", "1"):
    pids.append(os.fork())
    if not pids[-1]:
        os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        break
else:
    os._exit(any([os.waitpid(pid, 0)[1] for pid in pids]))
"""

# Each process that a test starts would compile the lab anew where the environment forbids to keep what was compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

chromium_key = pytest.StashKey[Path | None]()


def find_chromium() -> Path | None:
    """The first Chromium on PATH, else the one that `playwright install chromium` fetched, else None."""
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.is_file() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Look for the browser and for CUDA only where a collected test needs them."""
    if any(item.get_closest_marker("browser") for item in items):
        config.stash[chromium_key] = find_chromium()
    for item in items:
        if item.get_closest_marker("gpu") and not cuda_is_there():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        if item.get_closest_marker("large") and not LARGE:
            item.add_marker(pytest.mark.skip(reason="a long form: LAB_LARGE=1 runs it"))
    # A stable sort: the order within a file, and of the other files, stays.
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(f"{item.path.parent.name}/{item.path.name}", len(places)))


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """Takes what collection and imports made, some 800,000 objects, out of the collector's way.

    Each `gc.collect()` of an instrument would walk them all: two thirds of the time of the tests of leaks.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def prompt_inbox(monkeypatch):
    """A trainer that looks for commands at every step: what is sent in one is obeyed before the next."""
    from lab.store import control

    monkeypatch.setattr(control, "ASK_SECONDS", 0.0)


@pytest.fixture
def unfrozen():
    """The collector sees all that there is, as in a program: also what stood before the tests."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


def cuda_is_there() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A `browser` test without a browser is skipped; it fails where the browser is required."""
    if item.get_closest_marker("browser") and item.config.stash[chromium_key] is None:
        if os.environ.get(REQUIRE_BROWSER) == "1":
            pytest.fail(f"{NO_CHROMIUM}, and {REQUIRE_BROWSER}=1", pytrace=False)
        pytest.skip(NO_CHROMIUM)


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Path:
    """Path of the Chromium to drive; for tests marked `browser`."""
    path = pytestconfig.stash.get(chromium_key, None)
    assert path is not None, "a test that uses `chromium` must be marked `browser`"
    return path


@contextlib.contextmanager
def forks_of(*modules):
    """A process that has imported `modules` beside the engine, and runs code in forks of itself."""
    command = [sys.executable, "-c", FORKS, *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(code, output, *arguments):
            """The exit status (minus a signal that killed it); what it wrote goes to the file `output`."""
            task = {"code": code, "arguments": [str(argument) for argument in arguments], "output": str(output)}
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, "the process that forks has ended"
            return int(answer)

        yield run
        process.stdin.close()


@pytest.fixture(scope="session")
def forks():
    """What `run_code` calls."""
    with forks_of() as run:
        yield run


@pytest.fixture(scope="session")
def lesson_forks():
    """Runs code in a fork of a process that has imported what lessons use."""
    # A figure's widget brings 1.5 seconds of imports, which each lesson would pay.
    with forks_of(
        "lab.lesson.widgets", "lab.charts.lines", "plotly.basewidget", "IPython.core.interactiveshell"
    ) as run:
        yield run


@pytest.fixture
def run_code(forks, tmp_path_factory):
    """Runs code in a process of its own; gives its exit status (minus a signal that killed it) and what it wrote."""

    def run(code, *arguments):
        output = tmp_path_factory.mktemp("code") / "output"
        return forks(code, output, *arguments), output.read_text()

    return run


@pytest.fixture
def run_ranks(run_code, as_ranks):
    """Runs code on two ranks; 0 where both ended well, and what they wrote."""
    return lambda code, *arguments: run_code(as_ranks(code), *arguments)


@pytest.fixture(scope="session")
def as_ranks():
    """Code that two ranks run, in place of that code itself."""
    return lambda code: RANKS + code


@pytest.fixture(scope="module")
def no_other_tests(request):
    """The modules of other tests are no part of the program that the doctor examines, nor is what they imported.

    Among the user's modules that it searches would be all that this process has collected: hundreds. Those of
    transformers hold 20,000 objects, those of torchvision 4,000: with them each search takes ten times as long.
    """
    text = Path(request.module.__file__).read_text()
    hidden = {name for name in ("dashboard", "timm", "torchvision", "transformers") if name not in text}
    hidden.add(request.module.__name__.partition(".")[0])
    with pytest.MonkeyPatch.context() as patch:
        for name in list(sys.modules):
            # A package too: its attributes lead to its modules.
            if name.partition(".")[0] in hidden and name != request.module.__name__:
                patch.delitem(sys.modules, name)
        yield


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """A run sets torch's thread count: put it back. Tests that need no torch do not import it for this."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(THREADS))
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(THREADS))


@pytest.fixture(scope="session")
def make_config():
    """A run of seconds: two cycles, two epochs of each phase."""
    from lab.datasets import DataConfig
    from lab.runs import RunConfig

    def make(search=None, **fields):
        phases = {
            "prior": "none",
            "retraining_epochs": 0,
            "mutation_test": "before",
            "warmup_epochs": 2,
            "arch_training_epochs": 2,
            "weight_training_epochs": 2,
            "total_cycles": 2,
            "weight_lr": 0.05,
            "arch_lr": 0.05,
            "device": "cpu",
            "checkpoint_frequency": 1,
        }
        settings = {
            "data": DataConfig(train_limit=300),
            "init_channels": 4,
            "layers": 2,
            "batch_size": 16,
            "threads": 1,
        }
        return RunConfig.from_fields(**(settings | phases | (search or {}) | fields))

    return make


class ListSink:
    """Keeps what it is told; gives the commands that a test put in."""

    def __init__(self):
        self.rows = []
        self.records = []
        self.waiting = []

    def scalars(self, step, values):
        self.rows.append((step, dict(values)))

    def record(self, step, record):
        self.records.append((step, record))

    def commands(self):
        taken, self.waiting = tuple(self.waiting), []
        return taken

    def of(self, kind):
        return [record for _, record in self.records if record.kind == kind]


@pytest.fixture
def sink():
    return ListSink()
