"""Two ranks train as one process that takes their parts in turn; a rank that dies ends the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lab.base import ConfigError, TrainingError
from lab.runs import Run, find_checkpoint, saved_config
from lab.store import RunReader
from lab.train import SingleProcess
from lab.train.group import local_device, lost_rank, world_size

pytestmark = pytest.mark.slow

STEP = """
import json, os, sys
import torch
from torch import nn
from lab.train import WeightStep, open_group

out = sys.argv[1]
torch.set_num_threads(1)

def make(norm):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm(), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).double()

def train(net, group, grad_accum_steps=1):
    torch.manual_seed(1)
    step = WeightStep(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), grad_clip=0.5, group=group,
                      grad_accum_steps=grad_accum_steps)
    numbers = []
    for _ in range(4):
        x, y = torch.randn(12, 1, 4, 4, dtype=torch.float64), torch.randint(3, (12,))
        done = step(net, *(group.rows(x, y) if group else (x, y)))
        numbers.append([done.loss, done.accuracy, done.grad_norm])
    return {name: tensor.tolist() for name, tensor in net.state_dict().items()}, numbers

with open_group(torch.device("cpu")) as group:
    reports = {"size": group.size}
    for name, norm in (("group", lambda: nn.GroupNorm(2, 4)), ("batch", lambda: nn.BatchNorm2d(4))):
        together = train(make(norm), group)
        parts, whole = train(make(norm), None, 2), train(make(norm), None)
        reports[name] = {"together": together, "in_parts": parts, "at_once": whole}
        reports[name]["parts_of_parts"] = train(make(norm), group, 3)
    try:
        group.check_equal(str(group.rank), "number")
    except Exception as error:
        reports["unequal"] = f"{type(error).__name__}: {error}"
    reports["mean"] = float(group.mean(torch.tensor(float(group.rank))))
    reports["any"] = [group.any(group.rank == 1), group.any(False)]
    reports["shared"] = group.broadcast({"rank": group.rank})
tasks = "/proc/self/task"
if os.path.isdir(tasks):
    reports["threads"] = [open(f"{tasks}/{each}/comm").read().strip() for each in os.listdir(tasks)]
with open(f"{out}/{group.rank}.json", "w") as handle:
    json.dump(reports, handle)
"""

RUN = """
import json, os, signal, sys
import torch
from lab.runs import Run, RunConfig
from lab.train import open_group

folder, config, victim = sys.argv[1], RunConfig.from_json(json.loads(sys.argv[2])), int(sys.argv[3])

class Killer:
    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if epoch == 3 and batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    def on_text(self, text):
        pass

with open_group(torch.device("cpu")) as group:
    observer = Killer() if group.rank == victim else None
    Run(config, save_dir=folder, name="ranks", observer=observer, group=group).execute()
"""


def torchrun(script, folder, *arguments):
    path = Path(folder) / "script.py"
    path.write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=300, env=environment, check=False
    )


@pytest.fixture(scope="module")
def reports(forks, as_ranks, tmp_path_factory):
    """What each of two ranks has to say; forks, which need not import torch again."""
    folder = tmp_path_factory.mktemp("ranks")
    assert forks(as_ranks(STEP), folder / "output", folder) == 0, (folder / "output").read_text()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.large
def test_processes_that_torchrun_starts_are_the_same_ranks(reports, tmp_path):
    done = torchrun(STEP, tmp_path, str(tmp_path))
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert {**found, "threads": []} == {**reports[rank], "threads": []}


def distance(one, other):
    assert one.keys() == other.keys()
    return max(float((torch.tensor(one[k]) - torch.tensor(other[k])).abs().max()) for k in one)


def test_ranks_take_the_step_of_one_process_that_takes_their_parts_in_turn(reports):
    for rank in reports:
        for norm in ("group", "batch"):
            (weights, numbers), (expected, figures) = rank[norm]["together"], rank[norm]["in_parts"]
            assert distance(weights, expected) <= 1e-12, norm
            assert torch.tensor(numbers) == pytest.approx(torch.tensor(figures), rel=1e-12)


def test_with_group_norm_ranks_take_the_step_of_the_whole_batch(reports):
    (weights, _), (expected, _) = reports[0]["group"]["together"], reports[0]["group"]["at_once"]
    assert distance(weights, expected) <= 1e-12
    (other, _), (whole, _) = reports[0]["batch"]["together"], reports[0]["batch"]["at_once"]
    assert distance(other, whole) > 1e-4, "batch norm sees the ranks' rows apart; the check above could not fail"


def test_ranks_may_take_their_rows_in_parts_too(reports):
    (weights, _), (expected, _) = reports[0]["group"]["parts_of_parts"], reports[0]["group"]["at_once"]
    assert distance(weights, expected) <= 1e-12


def test_every_rank_holds_the_same_bits(reports):
    for norm in ("group", "batch"):
        assert reports[0][norm]["together"] == reports[1][norm]["together"]


def test_what_ranks_tell_each_other(reports):
    for rank in reports:
        assert rank["size"] == 2
        assert rank["mean"] == 0.5
        assert rank["any"] == [True, False]
        assert rank["shared"] == {"rank": 0}
        assert rank["unequal"].startswith(
            "TrainingError: expected the same number on every rank, got rank 0 0, rank 1 1"
        )


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the names of threads are read from Linux's /proc")
def test_no_thread_of_the_group_outlives_it(reports):
    for rank in reports:
        assert [name for name in rank["threads"] if "gloo" in name] == []


def test_a_run_on_two_ranks_is_the_run_that_takes_their_parts_in_turn(make_config, run_ranks, tmp_path):
    search = {"warmup_epochs": 1, "arch_training_epochs": 1, "weight_training_epochs": 1, "total_cycles": 6}
    config = make_config(search)
    status, output = run_ranks(RUN, tmp_path, json.dumps(config.to_json()), -1)
    assert status == 0, output
    alone = Run(make_config(search, grad_accum_steps=2), save_dir=tmp_path, name="alone").execute()
    together = json.loads((tmp_path / "ranks" / "report.json").read_text())
    assert together["network"]["mutations"]["applied"] == 5
    assert together["network"]["genotype"] == alone.network["genotype"]
    assert together["test_loss"] == pytest.approx(alone.test_loss, rel=1e-5)
    losses = [[row["loss"] for row in history] for history in (together["history"], alone.history)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    texts = [e.payload["text"] for e in RunReader(tmp_path / "ranks").events(kinds=("alert",)).events]
    agreed = [text for text in texts if "on each of 2 ranks" in text]
    assert sum("after the mutation phase" in text for text in agreed) == 6, (
        "the first takes the network, five change it"
    )
    assert len({text.split("digest ")[1] for text in agreed}) > 5, "the digest did not follow the network"


def test_a_rank_that_dies_ends_the_run_with_an_error_and_a_checkpoint_to_go_on_from(make_config, run_ranks, tmp_path):
    config = make_config()
    status, output = run_ranks(RUN, tmp_path, json.dumps(config.to_json()), 1)
    assert status != 0
    assert "all 2 ranks until the end, got a rank that is gone" in output
    reader = RunReader(tmp_path / "ranks")
    assert reader.state() == "failed"
    path = find_checkpoint(str(tmp_path / "ranks"), tmp_path)
    report = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert report.state == "finished"
    assert report.epochs == config.total_epochs


def test_one_process_is_a_group_of_one():
    group = SingleProcess()
    x, y = torch.ones(3, 1), torch.ones(3)
    assert group.rows(x, y)[0] is x
    assert group.broadcast("value") == "value"
    assert not group.any(False)


def test_the_number_of_ranks_comes_from_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world_size() == 1
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="a number of ranks in WORLD_SIZE, got 'two'"):
        world_size()


def test_each_rank_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local_device("auto") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert local_device("auto") == "cpu"
    assert local_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="a GPU for local rank 1, got 1 GPUs"):
        local_device("auto")


def test_only_a_lost_connection_counts_as_a_lost_rank():
    assert lost_rank(RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"))
    assert not lost_rank(RuntimeError("shape mismatch"))
    assert not lost_rank(TrainingError("a", "b", "c"))
