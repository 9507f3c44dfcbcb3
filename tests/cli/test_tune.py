"""`lab tune`: what the document spells, what is refused in one line, what is shown; no training here."""

import json
import re

import pytest

from lab.base import StudyError
from lab.cli import main, tune
from lab.cli.studied import over_study, studied_config
from lab.runs import RunConfig
from lab.store import RunWriter, StudyEvent, TrialEvent
from lab.tune import StudyConfig, parse_space
from lab.tune.dimension import field_types
from lab.tune.report import StudyReport

pytest.importorskip("optuna", reason="needs the extra tune")


class Called(Exception):
    """Stands for the end of a study that is not run here."""


@pytest.fixture
def asked(monkeypatch):
    """What `run_study` is called with."""
    found = {}

    def run_study(study, work, observer):
        found.update(study=study, work=work)
        raise Called

    monkeypatch.setattr("lab.tune.run_study", run_study, raising=False)
    return found


def call(words, asked):
    with pytest.raises(Called):
        main(["tune", *words.split()])
    return asked["study"], asked["work"]


def test_the_documents_commands_are_read(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = "--search weight_lr=1e-5:1e-3:log"
    study, work = call(f"--n-trials 20 --parallel 4 --outdir ./_runs {search}", asked)
    assert (work.n_trials, work.parallel, str(work.outdir)) == (20, 4, "_runs")
    assert study.name.startswith("study-")
    _, work = call(f"--n_trials 1 --outdir ./_runs {search}", asked)
    assert (work.n_trials, work.parallel) == (1, 1)


@pytest.mark.parametrize("agent", ["criteria", "evidence"])
def test_an_agent_is_a_task_of_recipe_text(agent, asked, capsys):
    words = f"--agent {agent} --n-trials 20 --parallel 4 --search weight_lr=1e-4:1e-3:log"
    if "text" not in tune.RECIPES:
        assert main(["tune", *words.split()]) == 2
        assert f"expected recipe text for --agent {agent}, found none among" in capsys.readouterr().err
        return
    study, _ = call(words, asked)
    assert (study.base["recipe"], study.base["text"]["task"]) == ("text", agent)


def test_options_of_the_recipe_hold_for_all_trials(asked):
    study, work = call(
        "--recipe agent --search evolve_every=1:6 seed=0:9 --policy none --init-channels 4 --epochs 5 --seed 3 "
        "--objectives accuracy parameters --sampler nsga2 --storage sqlite:a.db",
        asked,
    )
    base = RunConfig.from_json(dict(study.base))
    assert (base.recipe, base.evolve.policy, base.init_channels, base.epochs, base.seed) == ("agent", "none", 4, 5, 3)
    assert list(map(str, study.dimensions)) == ["evolve_every=1:6", "seed=0:9"]
    assert (study.objectives, study.directions) == (("accuracy", "parameters"), ("maximize", "minimize"))
    assert (study.epochs, study.seed, work.storage, study.prunes) == (5, 3, "sqlite:a.db", False)


def test_phases_of_a_search_fit_the_length(asked):
    study, _ = call("--recipe aso-se --search arch_lr=0.01:0.1 --epochs 8", asked)
    assert RunConfig.from_json(dict(study.base)).total_epochs == 8


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("--recipe fixd --search weight_lr=1:2", "a recipe among .*Did you mean fixed"),
        ("--agent critera --search weight_lr=1:2", "an agent among criteria, evidence.*Did you mean criteria"),
        ("--search speed=1:2", "a field that can be searched, among .*got 'speed'"),
        ("--search arch_lr=1:2", "a field that can be searched, among .*got 'arch_lr'"),
        ("--search weight_lr=2:1", "low < high for weight_lr.*an empty range"),
        ("--search batch_size=1:8", "batch_size >= 2"),
        ("--n-trials 3", "at least one searched field, found none"),
        ("--search weight_lr=0.1:0.2 --space-file a.json", "--search or --space-file, got both"),
        ("--search weight_lr=0.1:0.2 --objectives speed", "an objective among accuracy"),
        ("--search weight_lr=0.1:0.2 --objectives accuracy loss --pruner hyperband", "Give --pruner none"),
        ("--search weight_lr=0.1:0.2 --n-trials 0", "n_trials >= 1"),
        ("--search weight_lr=0.1:0.2 --sampler grid --n-trials 9", "at most 3 trials"),
        ("--search weight_lr=0.1:0.2 --storage redis://a", "journal:FILE, sqlite:FILE or postgresql"),
        ("--search weight_lr=0.1:0.2 --storage postgresql://me@127.0.0.1:1/db", "a storage of Optuna at postgresql"),
        ("--search weight_lr=0.1:0.2 --storage journal:foreign", "a journal of Optuna in foreign, got a foreign file"),
        ("--search weight_lr=0.1:0.2 --study a/b", "a run name of letters"),
        ("--resume --study gone", "study gone in studies, found none"),
        ("--resume", "a study in studies with --resume, found none"),
        ("--resume --study gone --epochs 3", "the whole study described again, or nothing of it"),
        ("shwo", "an action among show"),
        ("show gone", "a study's folder, or its name in studies"),
    ],
)
def test_bad_input_is_told_in_one_line_and_writes_nothing(words, match, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign").write_text("hello\n")
    assert main(["tune", *words.split()]) in (1, 2)
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(match, error), error
    assert [each.name for each in tmp_path.iterdir()] == ["foreign"]


@pytest.mark.parametrize(
    ("weights", "match"),
    [(None, "weights as safetensors, found no model.safetensors"), (b"\1" * 300, "a whole safetensors file, got")],
)
def test_a_broken_encoder_is_told_in_one_line_and_nothing_is_written(weights, match, tmp_path, monkeypatch, capsys):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = tmp_path / "encoder"
    transformers.RobertaConfig(vocab_size=40, **sizes).save_pretrained(encoder)
    if weights is not None:
        (encoder / "model.safetensors").write_bytes(weights)
    monkeypatch.chdir(tmp_path)
    words = f"tune --agent criteria --encoder {encoder} --n-trials 2 --search weight_lr=1e-4:1e-3:log"
    assert main(words.split()) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(match, error)
    assert [each.name for each in tmp_path.iterdir()] == ["encoder"]


@pytest.fixture
def studied(tmp_path):
    """A study of two trials, as a supervisor leaves it."""
    base = RunConfig(recipe="fixed", init_channels=4)
    config = StudyConfig(name="a", dimensions=parse_space(["weight_lr=0.01:0.1"], field_types()), base=base.to_json())
    with RunWriter(tmp_path, "a", {"study": config.to_json(), "n_trials": 2, "storage": ""}) as writer:
        writer.record(
            0,
            StudyEvent(
                study="a",
                storage="journal:a",
                supervisor=0,
                n_trials=2,
                parallel=1,
                objectives=["accuracy"],
                directions=["maximize"],
                space=[each.to_json() for each in config.dimensions],
                sampler="tpe",
                pruner="hyperband",
            ),
        )
        for number, value in enumerate((0.5, 0.75)):
            params = {"weight_lr": 0.02 * (number + 1)}
            values = {"accuracy": value}
            for state in ("running", "complete"):
                event = TrialEvent(
                    number=number, root=number, attempt=0, state=state, params=params, values=values, run=f"t/{number}"
                )
                writer.record(number + 1, event)
    return tmp_path / "a"


def test_a_study_is_shown_and_listed(studied, capsys):
    assert main(["tune", "show", "a", "--outdir", str(studied.parent)]) == 0
    page = capsys.readouterr().out
    assert "2 of 2 (2 attempts)" in page
    assert "0.75" in page
    assert f"lab train --from-study {studied}" in page
    assert main(["tune", "show", "--outdir", str(studied.parent), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["counts"]["complete"], found["best"][0]["number"]) == ("a", 2, 1)


def test_a_run_takes_the_best_settings_and_what_is_said_otherwise(studied):
    best = studied_config(str(studied))
    assert (best.recipe, best.init_channels, best.optimizer.weight_lr) == ("fixed", 4, 0.04)
    plain = RunConfig(recipe="fixed")
    changed = over_study(best, RunConfig.from_fields(recipe="fixed", epochs=7, batch_size=16, weight_decay=0.5), plain)
    assert (changed.epochs, changed.batch_size, changed.optimizer.weight_decay) == (7, 16, 0.5)
    assert (changed.init_channels, changed.optimizer.weight_lr) == (4, 0.04)


def test_a_study_without_one_best_trial_gives_no_settings(studied, tmp_path, capsys):
    assert main(["train", "agent", "--from-study", str(studied)]) == 2
    assert "expected recipe fixed, that of the study, got agent" in capsys.readouterr().err
    with RunWriter(tmp_path, "run", {"recipe": "fixed"}):
        pass
    with pytest.raises(StudyError, match="the folder of a study at .*, got that of a run"):
        StudyReport.read(tmp_path / "run")


def test_a_study_is_no_run_of_lab_runs_and_is_the_one_that_is_resumed(studied, asked, capsys):
    root = studied.parent
    assert main(["runs", "--save-dir", str(root)]) == 0
    output = capsys.readouterr().out
    assert f"no runs in {root}" in output
    assert f"studies there: a; lab tune show --outdir {root} lists them" in output
    with RunWriter(root, "later", {"recipe": "fixed"}):
        pass
    assert main(["runs", "--save-dir", str(root), "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["later"]
    study, work = call(f"--resume --outdir {root}", asked)
    assert (study.name, work.n_trials) == ("a", 2)
