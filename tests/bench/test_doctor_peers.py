"""What a text names is counted by one rule, and a tool that dies or hangs loses one program."""

import sys
import textwrap

import pytest

from lab.base import ConfigError
from lab.bench import DoctorBench, doctor, doctor_peers
from lab.bench.named import LINE, MISSED, NAMED, Fault, operations_of, what_is_named
from lab.bench.peers import TOOLS, said_of
from lab.cli import main

RUNNER = """
import os
import time
from types import SimpleNamespace

import torch
from torch import nn


def raises():
    model = nn.Linear(2, 2)

    def step():
        x = torch.ones(2, 3)
        return model(x).sum()

    return program(model, step)


def silent():
    model = nn.Linear(2, 2)
    return program(model, lambda: model(torch.ones(1, 2)).detach().sum().requires_grad_())


def dies():
    return program(None, lambda: os._exit(3))


def hangs():
    return program(None, lambda: time.sleep(600))


def program(model, step):
    return SimpleNamespace(
        model=model, step=step, loop=None, optimizer=None, batch=None, source=None, options={}, clean_up=None
    )


def case(build, line):
    lines = frozenset({(__file__, build.__code__.co_firstlineno + line)})
    return SimpleNamespace(
        name=build.__name__, family="one", lines=lines, tensor="", build=build, instrument="explain_training"
    )


def all_cases():
    return (case(dies, 1), case(raises, 5), case(hangs, 1), case(silent, 2))
"""


@pytest.fixture
def folder(tmp_path) -> str:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "runner.py").write_text(textwrap.dedent(RUNNER))
    return str(tmp_path)


@pytest.fixture
def fault(tmp_path) -> Fault:
    path = tmp_path / "train.py"
    path.write_text("h = x\nroot = h.sqrt()  # fault\n")
    return Fault(lines=((str(path), 2),), tensor="head.weight")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("sqrt (SqrtBackward0) at train.py:2 in <module>", LINE),
        ('  File "{path}", line 2, in <module>', LINE),
        ("    root = h.sqrt()", LINE),
        ("Function 'SqrtBackward0' returned nan values in its 0th output.", NAMED),
        ("sqrt_1_3  (3, 2)", NAMED),
        ("the gradient of head.weight is zero", NAMED),
        ("model.head.weight has no gradient", NAMED),
        ("train.py:1", MISSED),
        ("train.py:20", MISSED),
        ("another_train.py:2", MISSED),
        ('  File "{path}", line 21, in <module>', MISSED),
        ("overhead.weight and head.weights and head.weight.grad", MISSED),
        ("RsqrtBackward0 of a sqrt nobody took", MISSED),
        ("", MISSED),
    ],
)
def test_a_text_names_the_line_or_only_a_name_or_neither(text, verdict, fault):
    assert what_is_named(text.replace("{path}", fault.lines[0][0]), fault) == verdict


def test_a_module_of_a_number_is_named_where_it_stands_as_a_name():
    fault = Fault(tensor="1")
    assert [what_is_named(text, fault) for text in ("BatchNorm1d (1): 1-2", "1.weight", "what  1")] == [NAMED] * 3
    assert [what_is_named(text, fault) for text in ("1 found", "0.1.weight", "version 1")] == [MISSED] * 3


def test_the_operations_of_a_line_are_those_that_it_calls():
    assert operations_of("out = F.relu(model(x)) + self.gain") == {"relu", "add"}
    assert operations_of("out[1] = 2.0  # fault") == {"setitem", "index_put", "copy"}
    assert operations_of("self.mean.mul_(0.9)") == {"mul"}
    assert operations_of("with torch.no_grad():") == operations_of("loss.backward()") == frozenset()


def test_a_tool_that_names_the_line_is_counted_and_one_that_does_not_is_not(folder):
    cases = {case.name: case for case in doctor_peers.load_cases(folder)}
    said = {name: said_of(TOOLS["torch alone"], cases[name]) for name in ("raises", "silent")}
    verdicts = {name: what_is_named(text, Fault(lines=tuple(cases[name].lines))) for name, text in said.items()}
    assert verdicts == {"raises": LINE, "silent": MISSED}, said
    assert "peers.py" not in said["raises"], "frames of the measurement are no part of what a tool says"


def test_a_tool_that_dies_or_hangs_loses_that_program_only(folder):
    config = DoctorBench(peers=True, cases=folder, patience=3)
    answers = doctor_peers.ask("torch alone", doctor_peers.load_cases(folder), config)
    assert {name: answer is None for name, answer in answers.items()} == {
        "dies": True,
        "raises": False,
        "hangs": True,
        "silent": False,
    }


def test_a_tool_that_is_not_installed_is_said_to_be_so(folder, monkeypatch):
    monkeypatch.setattr(doctor_peers, "TOOLS", {"torchinfo": TOOLS["torchinfo"]})
    monkeypatch.setattr(doctor_peers, "_version", lambda tool: None)
    config = DoctorBench(peers=True, cases=folder)
    result = doctor.run(config)
    table = doctor.summary(result)
    assert doctor.result_name(config) == "doctor-peers"
    assert result["results"]["tools"] == {"torchinfo": {"version": None, "verdicts": {}}}
    assert [row[-1] for row in table.rows] == ["-", "-"]
    assert any("torchinfo: not installed" in note for note in table.notes)


def test_the_comparison_does_not_overwrite_the_speed(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor_peers, "TOOLS", {})
    assert main(["bench", "doctor", "--peers", "--cases", folder, "--out", str(tmp_path / "results")]) == 0
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["doctor-peers.json"]
    assert "one" in capsys.readouterr().out
    assert not [name for name in sys.modules if name.startswith("doctor_cases")]


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"runner\.py"):
        doctor.run(DoctorBench(peers=True, cases=str(tmp_path)))
