"""What docs/training.md shows runs, and its flags are there."""

import re
from pathlib import Path

import pytest

from lab.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_example_runs_as_it_is_printed(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "example"}
    exec(compile(block, "training.md", "exec"), scope)
    assert scope["framework"].should_early_stop()
    assert "weight_retraining" in capsys.readouterr().out
    assert (tmp_path / "checkpoints" / "best_model.pt").is_file()


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help-all" if command[0] == "train" else "--help"])
    return capsys.readouterr().out


def test_the_flags_of_the_page_are_flags_of_its_commands(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"`--([a-z-]+)", text)
    torchruns = {"nproc-per-node", "nnodes", "rdzv-endpoint"}
    train = help_of(["train"], capsys) + help_of(["train", "text"], capsys)
    assert len(rows) > 12
    for flag in set(rows) - torchruns:
        assert f"--{flag}" in train, flag
    for line in re.findall(r"^lab (.*)$", text, re.MULTILINE):
        words = line.split()
        command = words[:2] if words[0] == "runs" or words[:2] == ["train", "text"] else words[:1]
        shown = help_of(command, capsys)
        for flag in re.findall(r"--[a-z-]+", line):
            assert flag in shown, line
