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


pytestmark = pytest.mark.usefixtures("no_other_tests")


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


WRONG_FORMS = {
    "arguments of the batch": ("def make_batch(size):\n    return torch.ones(size, 4)", "make_batch(size)"),
    "no batch": ("def make_batch():\n    torch.ones(3, 4)", "make_batch() to give the input of forward, got NoneType"),
    "no function": ("make_batch = torch.ones(3, 4)", "make_batch to be a function, got Tensor"),
    "a number": ("def make_batch():\n    return 3", "a batch with tensors, got int"),
    "an array": ("def make_batch():\n    return torch.ones(3, 4).numpy()", "a batch with tensors, got ndarray"),
    "a target": ("def make_batch():\n    return torch.ones(3, 4), torch.ones(3)", "forward(x), got 2 by position"),
    "a wrong name": (
        "def make_batch():\n    return {'y': torch.ones(3, 4)}",
        "forward(x), got 0 by position, and y by name",
    ),
    "no loss": (
        "def make_loss():\n    pass",
        "make_loss() to give a function of the output and the batch, got NoneType",
    ),
    "the value of a loss": ("def make_loss():\n    return torch.ones(())", "output and the batch, got Tensor"),
    "the loss itself": ("def make_loss(output, batch):\n    return output.mean()", "make_loss(output, batch)"),
    "a loss of the output": ("def make_loss():\n    return lambda output: output.mean()", "loss(output, batch), got"),
    "a loss without a value": ("def make_loss():\n    return lambda output, batch: None", "one value, got NoneType"),
    "a number as loss": ("def make_loss():\n    return lambda o, b: o.mean().item()", "one value, got float"),
    "a loss for each row": (
        "def make_loss():\n    return lambda o, b: o.mean(1)",
        "one value, got a tensor of shape (3,)",
    ),
    "no placement": ("def make_placement():\n    return 3", "make_placement() to give a device"),
    "arguments of the model": ("def make_model(width):\n    return Net()", "make_model(width)"),
}


@pytest.mark.parametrize("case", WRONG_FORMS)
@pytest.mark.parametrize("simulated", [[], ["--simulate", "cuda:0"]], ids=["plain", "simulated"])
def test_a_helper_of_another_form_is_bad_usage_with_what_to_do(tmp_path, monkeypatch, capsys, case, simulated):
    name = f"form_{tmp_path.name}"
    helper, words = WRONG_FORMS[case]
    source = f"""
import torch

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

    def forward(self, x):
        return super().forward(x)

def make_model():
    return Net()

def make_batch():
    return torch.ones(3, 4)

{helper}
"""
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", f"{name}:make_model", *simulated]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.startswith("lab: expected ")


TRAINED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.first(x){cut})

def make_model():
    return Net()

def make_batch():
    return torch.ones(3, 4)

def make_optimizer(model):
    return torch.optim.Adam(model.parameters())

def make_step(model, optimizer):
    def step():
        optimizer.zero_grad()
        model(torch.ones(3, 4)).mean().backward()
        optimizer.step()

    return step
"""


@pytest.mark.parametrize(("cut", "code"), [("", 0), (".detach()", 1)])
def test_the_users_own_step_and_optimizer_are_checked(tmp_path, monkeypatch, capsys, cut, code):
    name = f"trained_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(TRAINED.format(cut=cut))
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", f"{name}:make_model", "--json", "--simulate", "cuda:0"]) == code
    training = json.loads(capsys.readouterr().out)["training"]
    assert training["optimizer"] == "Adam"
    assert [finding["category"] for finding in training["findings"]] == ["graph cut by detach"] * code
    if code:
        assert training["findings"][0]["place"]["text"] == "return self.last(self.first(x).detach())"


@pytest.mark.parametrize(
    ("helper", "words"),
    [
        ("def make_optimizer(model):\n    return 3", "make_optimizer() to give an optimizer, or several, got int"),
        ("def make_step(model, optimizer):\n    pass", "make_step() to give a function without arguments"),
        ("def make_step(model, optimizer, rate):\n    pass", "make_step(model, optimizer, rate)"),
        ("def make_step(model, optimizer):\n    return lambda: None", "a step that gives the loss"),
    ],
)
def test_a_step_or_an_optimizer_of_another_form_is_bad_usage(tmp_path, monkeypatch, capsys, helper, words):
    name = f"untrained_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"{TRAINED.format(cut='')}\n{helper}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", f"{name}:make_model"]) == 2
    assert words in capsys.readouterr().err
