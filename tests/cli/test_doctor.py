import json
import textwrap

import pytest

from lab.cli import main

SICK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.scale = torch.ones(4)
        self.hidden = [nn.Linear(4, 4)]

    def forward(self, x):
        h = torch.exp(self.encoder(x))
        h.add_(1)  # the culprit
        return self.hidden[0](h * self.scale)

def make_model():
    return Net()

class Memory(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.register_buffer("state", torch.zeros(4))

    def forward(self, x):
        out = torch.tanh(self.mix(x + self.state))
        self.state = out.mean(0)  # the carrier
        return out

def make_memory():
    return Memory()

def make_sound():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

def make_nothing():
    return None

def make_batch():
    return torch.randn(3, 4)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, request):
    name = f"sick_{request.node.name.split('[')[0]}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SICK))
    monkeypatch.chdir(tmp_path)
    return name


def test_a_sick_model_is_told_its_tensor_operation_and_line(folder, capsys):
    assert main(["doctor", f"{folder}:make_model", "--simulate", "cuda:0"]) == 1
    page = capsys.readouterr().out
    culprit = next(number for number, line in enumerate(SICK.splitlines(), 1) if "the culprit" in line)
    assert f"{folder}.py:{culprit}" in page
    assert "hidden" in page
    assert "add_" in page
    assert "scale" in page or "cuda" in page


@pytest.mark.parametrize(("factory", "comment"), [("make_model", "the culprit"), ("make_memory", "the carrier")])
def test_the_page_names_lines_of_the_model_and_none_of_the_command(folder, capsys, factory, comment):
    assert main(["doctor", f"{folder}:{factory}"]) == 1
    page = capsys.readouterr().out
    number = next(number for number, line in enumerate(SICK.splitlines(), 1) if comment in line)
    assert f"{folder}.py:{number}" in page
    assert "examine_model" not in page


def test_a_sound_model_passes_with_exit_code_0(folder, capsys):
    assert main(["doctor", f"{folder}:make_sound", "--simulate", "cuda:0,cuda:1", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["ok"] is True
    assert len(payload["simulations"]) == 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_colon", "MODULE:FACTORY"),
        ("no_such_module:make", "no_such_module"),
        ("{folder}:make_gold", "make_gold"),
        ("{folder}:make_nothing", "torch.nn.Module"),
    ],
)
def test_a_target_that_is_none_is_bad_usage(folder, capsys, target, words):
    assert main(["doctor", target.format(folder=folder)]) == 2
    assert words in capsys.readouterr().err
