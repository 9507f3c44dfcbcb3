"""Surgery on the models of a folder is timed and kept; other libraries are asked where they are installed."""

import json
import shutil
from pathlib import Path

import pytest

from lab.base import ConfigError
from lab.bench import MorphBench, morph, morph_foreign, morph_peers
from lab.cli import main

ZOO = """
from types import SimpleNamespace

import torch
from torch import nn

TIMM = {"absent": SimpleNamespace(family="none")}
TRANSFORMERS = {"tiny": SimpleNamespace(family="small")}


def build(name):
    if name == "absent":
        import a_library_that_nobody_has
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Linear(5, 3)).eval(), [torch.randn(4, 6)]
"""


@pytest.fixture
def zoo(tmp_path) -> str:
    (tmp_path / "zoo.py").write_text(ZOO)
    shutil.copy(Path(__file__).parents[1] / "morph" / "judge.py", tmp_path)
    return str(tmp_path)


def test_every_operation_is_timed_and_a_measured_model_is_found_again(zoo, tmp_path, capsys, monkeypatch):
    flags = ["--zoo", zoo, "--folder", str(tmp_path / "pieces"), "--out", str(tmp_path), "--rounds", "3"]
    assert main(["bench", "morph", *flags]) == 0
    assert "absent: No module named 'a_library_that_nobody_has'" in capsys.readouterr().out
    result = json.loads((tmp_path / "morph-foreign.json").read_text())
    rows = {row["operation"]: row for row in result["results"]["models"]["tiny"]["operations"]}
    assert set(rows) == {"Widen", "Prune", "Deepen", "AddBranch"}
    assert all(row["plan_seconds"] > 0 and row["apply_seconds"] > 0 and not row["refused"] for row in rows.values())
    assert rows["Prune"]["plan_again_seconds"] > 0
    memory = result["results"]["models"]["tiny"]["memory"]
    # Of the net with 10 units for 5 in its second layer.
    assert memory["copy_bytes"] == 8 * (6 * 8 + 8 + 8 * 10 + 10 + 10 * 3 + 3)
    assert memory["plan_bytes"] > memory["copy_bytes"] > memory["model_bytes"] > 0 < memory["apply_bytes"]
    monkeypatch.setattr(morph_foreign, "_measure", None)
    again = morph.run(MorphBench(zoo=zoo, folder=str(tmp_path / "pieces"), rounds=3))
    assert again["results"]["models"] == result["results"]["models"]


def test_ratios_are_told_of_long_steps_and_milliseconds_of_short_ones():
    def model(step, plan, refused=""):
        row = {"operation": "Widen", "refused": refused, "plan_seconds": plan, "apply_seconds": 0.0}
        memory = {"model_bytes": 8, "copy_bytes": 10, "forward_bytes": 10, "plan_bytes": 25, "apply_bytes": 4}
        return {"step_seconds": step, "operations": [row], "memory": memory if plan > 0.5 else None}

    models = {"a": model(0.5, 1.0), "b": model(0.1, 0.9), "c": model(0.001, 0.4), "d": model(1.0, 0.0, "because")}
    found = morph_foreign.summary({"results": {"models": models, "absent": [], "aim": {"median": 6.0, "worst": 40.0}}})
    assert found.rows == (("Widen", "3 of 4", "5.5", "9.0", "2", "400 ms", "400 ms"),)
    assert "median 1.25, most 1.25 (2 models)" in str(found)


def test_pruning_counts_only_where_the_width_is_halved_and_backward_runs(zoo, tmp_path):
    result = morph.run(MorphBench(zoo=zoo, names=("tiny",), folder=str(tmp_path / "pieces"), peers=True))["results"]
    assert [(site["site"], site["lab.morph"]["ok"]) for site in result["pruning"]] == [("0", True), ("2", True)]
    widened = result["growth"]["lab.morph Widen"]
    assert widened["output_difference"] < 1e-5
    assert widened["with_state"] == widened["weights"] == 6
    assert result["growth"]["lab.morph Deepen"]["with_state"] == 6
    assert "lab.morph Widen" in str(morph_peers.summary({"results": result}))


def test_what_is_not_asked_right_is_said(zoo, tmp_path):
    with pytest.raises(ConfigError, match=r"a folder with zoo\.py and judge\.py"):
        morph.run(MorphBench(zoo=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"models of zoo\.py, got huge"):
        morph.run(MorphBench(zoo=zoo, names=("huge",)))
    with pytest.raises(ConfigError, match="a folder of models in zoo for peers"):
        MorphBench(peers=True)
