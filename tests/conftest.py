"""What all tests share: the browser that page tests drive, and which tests this machine can run."""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRE_BROWSER = "LAB_REQUIRE_BROWSER"
NO_CHROMIUM = f"no Chromium found: none of {', '.join(CHROMIUM_NAMES)} on PATH, and none of Playwright's own"

# One thread, here and in every process that a test starts: two on a busy machine of two cores wait for each other at
# every operation. Read by torch when it is first imported.
THREADS = "1"
os.environ.setdefault("OMP_NUM_THREADS", THREADS)
os.environ.setdefault("MKL_NUM_THREADS", THREADS)

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


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """A run sets torch's thread count: put it back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
