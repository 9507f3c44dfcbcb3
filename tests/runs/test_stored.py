"""Runs that earlier versions wrote go on: to the same bits where the machine is the same.

`tests/stored/NAME` is a run that was interrupted, and in `expected.json` how the same run ended there without an
interruption: the SHA-256 of the bytes of all its network's tensors, and what the test split gave. Where a mechanism was
replaced, `reason` says so, and the figures are those of the same stored run going on with the present one.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from lab.checkpoint import load_checkpoint
from lab.runs import Run, find_checkpoint, saved_config
from lab.runs.environment import read_environment

STORED = Path(__file__).resolve().parents[1] / "stored"
NAMES = sorted(path.name for path in STORED.iterdir())


def weights(network):
    digest = hashlib.sha256()
    for tensor in (*network.parameters(), *network.buffers()):
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def test_every_kind_of_run_is_stored():
    assert len(NAMES) >= 7
    plans = {name: len(load_checkpoint(find_checkpoint(str(STORED / name), "")).plans) for name in NAMES}
    assert plans["agent"] >= 2
    assert plans["aso-se-grown"] >= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_run_goes_on_as_its_own_version_would(name, tmp_path):
    if name == "text":
        pytest.importorskip("transformers")
    shutil.copytree(STORED / name, tmp_path / name)
    expected = json.loads((STORED / name / "expected.json").read_text())
    path = find_checkpoint(str(tmp_path / name), tmp_path)
    run = Run(saved_config(path), save_dir=tmp_path, resume=path, allow_different_bits=True)
    report = run.execute()
    network = run.parts.strategy.network
    assert report.steps == expected["steps"]
    assert sum(p.numel() for p in network.parameters()) == expected["parameters"]
    # Elsewhere every step rounds differently, and a decision may fall differently: the run must still go through.
    if load_checkpoint(path).environment == read_environment(run.parts.device):
        assert weights(network) == expected["weights"]
        assert (report.test_loss, report.test_accuracy) == (expected["test_loss"], expected["test_accuracy"])
