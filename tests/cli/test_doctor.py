import json
import re
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


OWN_CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.scale = torch.ones(4)

    def forward(self, x):
        return self.fc(x) * self.scale  # device

class Raises(Net):
    def forward(self, x):
        return self.fc(helper(x))  # forward

class Undecided(Net):
    def forward(self, x):
        h = self.fc(x)
        return h if h.sum() > 0 else -h

def helper(x):
    return {}["gone"]  # helper

def make_net():
    return Net()

def make_sound():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU())

def make_raising_net():
    return Raises()

def make_undecided():
    return Undecided()

def make_shapes():
    return nn.Linear(3, 3)

def make_key_error():
    return helper(1)

def make_exit():
    raise SystemExit(3)  # exit
"""
BATCH = "\ndef make_batch():\n    return torch.ones(2, 4)\n"


def own_module(tmp_path, monkeypatch, more=BATCH):
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN_CODE + more)
    monkeypatch.chdir(tmp_path)
    return name


def line_of(comment):
    return next(number for number, line in enumerate(OWN_CODE.splitlines(), 1) if line.endswith(f"# {comment}"))


def test_without_a_placement_one_gpu_is_simulated(tmp_path, monkeypatch, capsys):
    name = own_module(tmp_path, monkeypatch)
    assert main(["doctor", f"{name}:make_net"]) == 1
    page = capsys.readouterr().out
    assert re.search(r"simulation on cuda:0 +mismatch: plain attribute", page)
    assert f"{name}.py:{line_of('device')}" in page
    assert main(["doctor", f"{name}:make_sound"]) == 0


@pytest.mark.parametrize(
    ("factory", "told", "comments"),
    [
        ("make_key_error", "KeyError: 'gone'", ["helper"]),
        ("make_exit", "SystemExit: 3", ["exit"]),
        ("make_raising_net", "KeyError: 'gone'", ["helper", "forward"]),
        ("make_shapes", "mat1 and mat2 shapes cannot be multiplied", []),
    ],
)
def test_what_the_users_code_raises_is_one_line_with_the_users_frames(
    tmp_path, monkeypatch, capfd, factory, told, comments
):
    name = own_module(tmp_path, monkeypatch)
    assert main(["doctor", f"{name}:{factory}"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err
    places = re.findall(r"at (\S+):(\d+) in", err)
    expected = [(f"{name}.py", str(line_of(comment))) for comment in comments]
    assert places[: len(expected)] == expected
    assert {path for path, _ in places} <= {f"{name}.py"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("\ndef make_batch(:\n", "SyntaxError"),
        ("\nimport no_such_library\n", "No module named 'no_such_library'"),
        ("\ndef make_batch():\n    raise ValueError('no data here')\n", "ValueError: no data here"),
    ],
)
def test_a_module_that_does_not_load_and_a_batch_that_raises_are_told_by_their_line(
    tmp_path, monkeypatch, capsys, more, told
):
    name = own_module(tmp_path, monkeypatch, more)
    assert main(["doctor", f"{name}:make_sound"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert re.findall(r"(\S+\.py):\d+", err) == [f"{name}.py"]


@pytest.mark.parametrize(
    ("target", "meant"), [("{}.py:make_sound", "{}:"), (".{}:make_sound", "{}:"), ("nets/{}.py:make", "nets.{}:make")]
)
def test_a_file_or_a_relative_name_is_told_the_dotted_one(tmp_path, monkeypatch, capsys, target, meant):
    name = own_module(tmp_path, monkeypatch)
    assert main(["doctor", target.format(name)]) == 2
    assert f"write {meant.format(name)}" in capsys.readouterr().err.lower()


def test_what_could_not_be_checked_is_listed_and_has_an_exit_code(tmp_path, monkeypatch, capsys):
    name = own_module(tmp_path, monkeypatch)
    assert main(["doctor", f"{name}:make_undecided"]) == 3
    page = capsys.readouterr().out
    assert "1 simulated without a verdict" in page
    assert "not checked: simulation on cuda:0 from" in page
    assert main(["doctor", f"{name}:make_undecided", "--follow-data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchecked"] == []


def test_without_a_batch_the_headline_says_that_nothing_was_run(tmp_path, monkeypatch, capsys):
    name = own_module(tmp_path, monkeypatch, more="")
    assert main(["doctor", f"{name}:make_sound"]) == 3
    page = capsys.readouterr().out
    assert page.startswith("Doctor: nothing found by looking; nothing was run")
    assert re.search(r"backward +not run", page)
    assert "not checked: no batch was given" in page


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
