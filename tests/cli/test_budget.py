import json

import pytest

from lab.base import ConfigError
from lab.cli import main
from lab.cli.budget import parse_budget
from lab.runs import Budget

FEW = ["--train-limit", "300", "--device", "cpu", "--threads", "1", "--batch-size", "16"]


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("90s", Budget(seconds=90)),
        ("1.5m", Budget(seconds=90)),
        (" 2 h ", Budget(seconds=7200)),
        ("447GF", Budget(operations=447e9)),
        (".5TF", Budget(operations=5e11)),
        ("3MF", Budget(operations=3e6)),
    ],
)
def test_a_budget_in_words(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "90", "s", "5 minutes", "-3s", "1e12", "4gf", "0s"])
def test_a_budget_in_another_form_says_what_is_expected(text):
    with pytest.raises(ConfigError, match="budget"):
        parse_budget(text)


def test_a_plan_is_printed_and_nothing_is_trained(tmp_path, capsys):
    words = ["train", "fixed", "--plan", "--budget", "2GF", "--json", "--save-dir", str(tmp_path / "runs"), *FEW]
    assert main(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["operations"] == 2e9
    assert plan["channels"] in {each["channels"] for each in plan["candidates"]}
    assert not (tmp_path / "runs").exists()


def test_a_given_width_is_kept_and_its_epochs_are_planned(tmp_path, capsys):
    assert main(["train", "fixed", "--plan", "--budget", "2GF", "--json", "--init-channels", "5", *FEW]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["channels"] == 5


@pytest.mark.parametrize("words", [["--epochs", "3"], ["--total-cycles", "2"]])
def test_a_budget_beside_a_length_is_refused(words, capsys):
    assert main(["train", "aso-se", "--budget", "2GF", *words, *FEW]) == 2
    assert f"a plan beside {words[0]}" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_plan(tmp_path, capsys):
    folder = ["--save-dir", str(tmp_path)]
    assert main(["train", "fixed", "--epochs", "1", "--init-channels", "2", "--name", "one", *folder, *FEW]) == 0
    capsys.readouterr()
    for words, told in ((["--budget", "2GF"], "--budget 2GF"), (["--plan"], "--plan")):
        assert main(["train", "fixed", "--resume", str(tmp_path / "one"), *folder, *words]) == 2
        assert f"expected the plan that the run was started with, got {told}" in capsys.readouterr().err
