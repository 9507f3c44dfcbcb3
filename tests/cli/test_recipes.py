"""Each recipe of `lab train` takes its own options, refuses the others', and answers to its former spellings."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from lab.asose import ASOSEConfig
from lab.cli import main, train, training
from lab.cli.options import flags_of, groups_of
from lab.cli.recipes import COMMON, RECIPES, run_config
from lab.datasets import DataConfig
from lab.runs import RECIPES as BUILT
from lab.runs import RECORDS, RunConfig
from lab.runs.build import FACTORIES, RECORD_RECIPES
from lab.store import RunReader
from lab.train import OptimizerConfig

STORED = Path(__file__).resolve().parents[1] / "stored"
TINY = ["--epochs", "1", "--threads", "1", "--device", "cpu", "--json"]
IMAGES = ["--train-limit", "300", "--init-channels", "2", "--batch-size", "32"]


@pytest.fixture
def asked(monkeypatch):
    """The settings that a command line asks for; nothing is trained."""
    found = []
    monkeypatch.setattr(training, "execute", lambda given, plain, flags, resumed: found.append(given) or 0)
    return found


def told(capsys, arguments, *words, code=2):
    """The lines of the error stream of a command that is refused; the last one says why."""
    assert main(arguments) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert all(word in lines[-1] for word in words), lines
    return lines


def test_every_recipe_has_options_and_a_factory():
    assert tuple(RECIPES) == BUILT
    assert {*FACTORIES, *RECORD_RECIPES} == set(BUILT)


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_two_options_of_a_recipe_have_one_name_and_each_says_what_it_does(recipe):
    options = [option for group in groups_of(RECIPES[recipe].flags) for option in group.options]
    assert len({option.field for option in options}) == len(options)
    assert all(option.text for option in options)


def page_of(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    return capsys.readouterr().out


def listed(page):
    return {word for line in page.splitlines() if line.startswith("  --") for word in [line.split()[0].rstrip(",")]}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_short_page_lists_what_most_runs_need_and_the_long_one_all(recipe, capsys):
    short, long = (page_of(capsys, ["train", recipe, flag]) for flag in ("--help", "--help-all"))
    groups = groups_of(RECIPES[recipe].flags)
    options = [option for group in groups for option in group.options]
    assert 10 <= len(listed(short) - {"--help-all"}) <= 15
    assert listed(short) < listed(long) | {"--help-all"}
    assert listed(long) == {option.flag for option in options}
    assert f"Show all {len(options)} options." in short
    assert len(short.splitlines()) <= 80
    titles = [group.title for group in groups]
    assert [line[:-1] for line in short.splitlines() if line[:-1] in titles] == [
        group.title for group in groups if listed(short) & {option.flag for option in group.options}
    ]


def test_each_common_option_is_one_of_some_recipe():
    fields = {
        option.field for recipe in RECIPES.values() for group in groups_of(recipe.flags) for option in group.options
    }
    assert fields >= COMMON


def test_an_option_that_the_short_page_leaves_out_is_taken(asked, capsys):
    assert "--growth" not in listed(page_of(capsys, ["train", "--help"]))
    assert main(["train", "--growth", "depth"]) == 0
    assert asked[0].search.growth == "depth"
    told(capsys, ["train", "--reject-z", "much"], "lab train --help-all explains them")
    told(capsys, ["train", "--qqqqqqqqqq", "1"], "lab train --help-all lists them")


@pytest.mark.parametrize("recipe", RECIPES)
def test_without_options_a_recipe_has_the_default_settings(recipe, asked):
    assert main(["train", recipe]) == 0
    own = {
        "multitask": {"data": DataConfig(name="multitask")},
        "text": {
            "data": DataConfig(name="sentences"),
            "epochs": 10,
            "optimizer": OptimizerConfig(weight_lr=5e-4, weight_decay=0.01, grad_clip=1.0),
        },
    }
    assert asked == [RunConfig(recipe=recipe, **own.get(recipe, {}))]


def test_every_option_reaches_the_run(asked):
    """One option of each part, in both spellings; a tuple, a switch, None."""
    words = "--total_cycles=4 --growth depth --growth-schedule 2 3 --weight-lr 0.5 --no-save-checkpoints --workers 2"
    assert (
        main(["train", "aso-se", *words.split(), "--target-accuracy", "None", "--dataset", "shapes", "--seed", "3"])
        == 0
    )
    (config,) = asked
    assert config.search == ASOSEConfig(total_cycles=4, growth="depth", growth_schedule=(2, 3))
    assert (config.optimizer.weight_lr, config.checkpoints.save_checkpoints, config.workers) == (0.5, False, 2)
    assert (config.data.name, config.data.seed, config.seed) == ("shapes", 3, 3)


def test_the_two_records_with_a_name_in_common_have_it_under_their_own_recipe(asked):
    assert main(["train", "--reject-z", "2"]) == 0
    assert main(["train", "agent", "--reject-z", "3"]) == 0
    search, agent = asked
    assert (search.search.reject_z, search.evolve.reject_z) == (2.0, 1.64)
    assert (agent.search.reject_z, agent.evolve.reject_z) == (1.64, 3.0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("train --policy random --max-parameters 5", "--max-parameters belongs to: lab train agent"),
        ("train --policy random --max-parameters 5", "--policy belongs to: lab train agent"),
        ("evolve --recipe fixed", "agent and --recipe fixed"),
        (
            "train --recipe fixed --policy random --growth depth --weighting gradnorm",
            "--policy belongs to: lab train agent",
        ),
        (
            "train --recipe fixed --policy random --growth depth --weighting gradnorm",
            "--growth belongs to: lab train aso-se",
        ),
        (
            "train --recipe fixed --policy random --growth depth --weighting gradnorm",
            "--weighting belongs to: lab train multitask",
        ),
        ("train --fixed-cell x", "--fixed-cell belongs to: lab train fixed"),
        ("train multitask --workers=2", "--workers belongs to: lab train aso-se, lab train fixed, lab train agent"),
        ("train fixed --warmup_epochs 1", "--warmup-epochs belongs to: lab train aso-se"),
    ],
)
def test_an_option_of_another_recipe_is_refused_and_says_where_it_belongs(capsys, asked, arguments, named):
    told(capsys, arguments.split(), named)
    assert not asked


@pytest.mark.parametrize(
    ("arguments", "recipe", "spelling"),
    [
        ("train --recipe fixed --epochs 3", "fixed", "lab train fixed"),
        ("train --epochs 3 --recipe=agent", "agent", "lab train agent"),
        ("train --recipe hybrid --dataset multitask", "multitask", "lab train multitask"),
        ("train hybrid", "multitask", "lab train multitask"),
        ("evolve --epochs 3", "agent", "lab train agent"),
        ("evolve my.module:factory --recipe agent", "agent", "lab train agent"),
    ],
)
def test_a_former_spelling_goes_on_and_says_the_new_one_in_one_line(capsys, asked, arguments, recipe, spelling):
    assert main(arguments.split()) == 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith(f"is now {spelling}")
    assert asked[0].recipe == recipe
    assert asked[0].evolve.model == ("my.module:factory" if "my." in arguments else "small_cnn")


def test_a_bench_that_became_an_experiment_goes_on_and_says_so(capsys, tmp_path):
    code = main(
        ["bench", "strategies", "--space", "nb125", "--seeds", "2", "--evaluations", "3", "--folder", str(tmp_path)]
    )
    assert code == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == "lab: lab bench strategies is now lab experiment strategies"
    assert "digits" in said.out


@pytest.mark.parametrize("name", ["fixed", "agent", "hybrid", "aso-se-grown"])
def test_a_resumed_run_brings_its_recipe(capsys, tmp_path, monkeypatch, name):
    shutil.copytree(STORED / name, tmp_path / name)
    found = []
    monkeypatch.setattr(
        train, "run_config", lambda recipe, command: found.append(recipe) or run_config(recipe, command)
    )
    monkeypatch.setattr(training, "Run", None)
    resume = ["train", "--resume", str(tmp_path / name)]
    # What is another run's setting is refused before anything is built.
    told(capsys, [*resume, "--seed", "77"], "seed 77 for")
    assert set(found) == {"multitask" if name == "hybrid" else name.removesuffix("-grown")}
    told(capsys, [*resume, "--resume=" + str(tmp_path / name), "--seed", "77"], "seed 77 for")
    other = "fixed" if name != "fixed" else "agent"
    told(capsys, ["train", other, *resume[1:]], f"recipe {other} for")


@pytest.mark.parametrize("recipe", ["fixed", "agent", "multitask", "text"])
def test_a_recipe_trains_for_the_epochs_that_are_given(capsys, tmp_path, recipe):
    if recipe == "text":
        pytest.importorskip("transformers")
    images = IMAGES if recipe in FACTORIES else []
    assert main(["train", recipe, *TINY, *images, "--save-dir", str(tmp_path), "--name", "a"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["recipe"], report["epochs"], report["state"]) == (recipe, 1, "finished")
    assert RunReader(tmp_path / "a").config()["recipe"] == recipe


def test_every_record_of_a_run_but_the_monitor_belongs_to_a_recipe():
    parts = {item.name for recipe in RECIPES.values() for item in dataclasses.fields(recipe.flags)}
    assert RECORDS.keys() - parts == {"monitor"}
    assert "--resume" in flags_of(RECIPES["fixed"].flags)
