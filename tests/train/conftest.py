import pytest
import torch

from lab.asose import ASOSEConfig
from lab.datasets import DataConfig
from lab.runs import RunConfig


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_config():
    """A run of seconds: two cycles, two epochs of each phase."""

    def make(search=None, **fields):
        phases = {
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
        return RunConfig(search=ASOSEConfig(**(phases | (search or {}))), **(settings | fields))

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
