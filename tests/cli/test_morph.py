import importlib
import json

import pytest

from lab.cli.main import main
from lab.morph import MorphPlan, rebuild

NET = """
import torch
from torch import nn

def make_model():
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), *head)

def make_batch():
    return torch.randn(4, 3, 12, 12)
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    (tmp_path / "morph_net.py").write_text(NET)
    (tmp_path / "morph_bare.py").write_text(NET.partition("def make_batch")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "morph_net:make_model"


def test_a_change_is_proven_and_taken_back(net, capsys):
    assert main(["morph", net, "--op", "widen", "--layer", "0", "--width", "16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["exact"] is True
    assert found["plan"]["parameters"] == [842, 1658]
    (difference,) = [value for what, value in found["measured"].items() if what.startswith("relative difference")]
    assert 0 <= difference <= 1e-6
    assert found["measured"]["taken back"] == "every bit"
    assert [line for line in found["tree"] if line.startswith("+  (0)")] == [
        "+  (0): Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    ]


def test_a_change_that_is_not_taken_back_is_a_failure(net, capsys, monkeypatch):
    # By name: `lab.morph.apply` is the function.
    monkeypatch.setattr(importlib.import_module("lab.morph.apply"), "_restore", lambda undo: None)
    assert main(["morph", net, "--op", "widen", "--layer", "0", "--width", "16"]) == 1
    assert "NOT as before: report this" in capsys.readouterr().out


def test_a_dry_run_plans_and_shows_the_tree_and_its_plan_rebuilds_the_model(net, tmp_path, capsys):
    path = tmp_path / "plan.json"
    assert main(["morph", net, "--op", "deepen", "--layer", "2", "--dry-run", "--plan", str(path)]) == 0
    text = capsys.readouterr().out
    assert "exact, relative difference 0.0e+00" in text
    assert "+  (2): Deepened(" in text
    assert "Proof" not in text
    import morph_net

    model = rebuild(morph_net.make_model(), (MorphPlan.from_json(path.read_text()),))
    assert type(model[2]).__name__ == "Deepened"


def test_a_change_of_the_function_says_so(net, capsys):
    assert main(["morph", net, "--op", "prune", "--layer", "0", "--width", "4"]) == 0
    assert "changed, relative difference" in capsys.readouterr().out


@pytest.mark.parametrize("op", ["attention", "branch", "residual", "kernel"])
def test_each_operation_is_planned(net, op, capsys):
    more = ["--kernel", "5"] if op == "kernel" else []
    assert main(["morph", net, "--op", op, "--layer", "3", *more, "--dry-run"]) == 0
    assert "exact" in capsys.readouterr().out


def test_places_and_refusals_are_listed(net, capsys):
    assert main(["morph", net, "--where", "--json"]) == 0
    places = json.loads(capsys.readouterr().out)["places"]
    assert places["widen"] == {"0": "", "3": "", "6": places["widen"]["6"]}
    assert "a size of the model's output" in places["widen"]["6"]
    assert "to keep the number of dimensions; got (4, 8, 1, 1) -> (4, 8)" in places["branch"]["5"]
    assert set(places) == {"widen", "prune", "deepen", "residual", "attention", "branch"}
    assert main(["morph", net, "--where"]) == 0
    assert "widen      2         1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--op", "wide", "--layer", "0"], "expected --op to be one of widen, prune"),
        (["--layer", "0"], "expected --op to be one of widen, prune"),
        (["--op", "widen", "--width", "4"], "--layer NAME, a name of named_modules(), got none"),
        (["--op", "widen", "--layer", "0"], "--width with --op widen, found none"),
        (["--op", "deepen", "--layer", "0", "--width", "4"], "no --width with --op deepen, got 4"),
        (["--op", "deepen", "--layer", "0", "--to", "1"], "no --to with --op deepen"),
        (["--op", "widen", "--layer", "nowhere", "--width", "9"], "a name from named_modules()"),
        (["--op", "widen", "--layer", "6", "--width", "9"], "a size of the model's output"),
        (["--op", "deepen", "--layer", "0", "--plan", "no/such/folder.json"], "a file that can be written"),
    ],
)
def test_what_cannot_be_is_one_line(net, options, message, capsys):
    assert main(["morph", net, *options]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert message.replace("got none", "found none") in written.err.replace("got none", "found none")
    assert written.err.count("\n") == 1


def test_a_batch_that_the_model_does_not_take_is_told_once(net, tmp_path, capsys):
    text = NET.replace("return torch.randn(4, 3, 12, 12)", "return torch.randn(4, 3, 12, 12), torch.zeros(4)")
    (tmp_path / "morph_pair.py").write_text(text)
    assert main(["morph", "morph_pair:make_model", "--where"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert "make_batch()" in written.err
    assert written.err.count("\n") == 1


def test_a_module_without_a_batch_is_told(net, capsys):
    assert main(["morph", "morph_bare:make_model", "--where"]) == 2
    assert "make_batch() in morph_bare" in capsys.readouterr().err
