"""Two hosts train one run by torchrun; a cable that is cut ends it on both with a clear error, and it goes on later.

The hosts are network namespaces with a cable between them, which takes rights that not everybody has.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.store import RunReader

SCRIPT = """
import datetime, json, sys
import torch
import lab.train.group
from lab.runs import Run, RunConfig, find_checkpoint, saved_config
from lab.train import open_group

folder, name, resume, config = sys.argv[1], sys.argv[2], sys.argv[3], RunConfig.from_json(json.loads(sys.argv[4]))
lab.train.group.TIMEOUT = datetime.timedelta(seconds=SECONDS)

class Marker:
    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if epoch == 2 and batch == 2:
            open(f"{folder}/{name}.middle", "w").close()
    def on_text(self, text):
        pass

torch.set_num_threads(1)
with open_group(torch.device("cpu")) as group:
    if resume:
        path = find_checkpoint(f"{folder}/{name}", folder)
        Run(saved_config(path), save_dir=folder, resume=path, group=group).execute()
    else:
        Run(config, save_dir=folder, name=name, group=group, observer=Marker()).execute()
"""
TIMEOUT = 10
"""Seconds without an answer after which a rank takes the others for gone."""
ADDRESS = "10.77.31."
PORT = "29531"


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def hosts():
    """Names of two network namespaces with a cable between them."""
    names = [f"lab{os.getpid()}{end}" for end in "ab"]
    try:
        if shutil.which("ip") is None or any(ip("netns", "add", name).returncode for name in names):
            pytest.skip("network namespaces need Linux, the command ip and the rights of an administrator")
        ends = [f"v{name}"[-15:] for name in names]
        if ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1]).returncode:
            pytest.skip("a cable between network namespaces is not allowed here")
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            for words in (
                ("link", "set", end, "netns", name),
                ("-n", name, "link", "set", end, "name", "cable"),
                ("-n", name, "addr", "add", f"{ADDRESS}{number}/24", "dev", "cable"),
                ("-n", name, "link", "set", "lo", "up"),
                ("-n", name, "link", "set", "cable", "up"),
            ):
                done = ip(*words)
                assert done.returncode == 0, done.stderr
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def start(host, rank, folder, *arguments):
    """torchrun on one of the hosts."""
    path = folder / "script.py"
    path.write_text(SCRIPT.replace("SECONDS", str(TIMEOUT)))
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1")
    place = ("--node-rank", str(rank), "--master-addr", f"{ADDRESS}1", "--master-port", PORT, str(path), str(folder))
    environment = {
        **os.environ,
        **{"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable"},
    }
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *torchrun, *place, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def train(hosts, folder, *arguments, meanwhile=lambda: None):
    """Exit codes and errors of both hosts, and seconds from `meanwhile` to the end of each."""
    both = [start(host, rank, folder, *arguments) for rank, host in enumerate(hosts)]
    meanwhile()
    began = time.monotonic()
    ended = [(process.communicate(timeout=240)[1], time.monotonic() - began) for process in both]
    return [process.returncode for process in both], [text for text, _ in ended], max(at for _, at in ended)


@pytest.mark.large
@pytest.mark.slow
def test_a_cut_cable_ends_the_run_on_both_hosts_and_it_goes_on_to_the_same_bits(make_config, tmp_path, hosts):
    config = json.dumps(make_config({"total_cycles": 1}).to_json())
    codes, errors, _ = train(hosts, tmp_path, "whole", "", config)
    assert codes == [0, 0], errors
    whole = json.loads((tmp_path / "whole" / "report.json").read_text())

    def cut():
        end = time.monotonic() + 120
        while not (tmp_path / "cut.middle").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert ip("-n", hosts[1], "link", "set", "cable", "down").returncode == 0

    codes, errors, seconds = train(hosts, tmp_path, "cut", "", config, meanwhile=cut)
    assert 0 not in codes
    for text in errors:
        assert "all 2 ranks until the end, got a rank that is gone" in text, text
    assert seconds < 6 * TIMEOUT
    assert RunReader(tmp_path / "cut").state() == "failed"
    assert ip("-n", hosts[1], "link", "set", "cable", "up").returncode == 0
    codes, errors, _ = train(hosts, tmp_path, "cut", "resume", config)
    assert codes == [0, 0], errors
    assert json.loads((tmp_path / "cut" / "report.json").read_text())["digest"] == whole["digest"]
