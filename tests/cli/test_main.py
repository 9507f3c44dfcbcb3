import importlib
import json
import socket
from dataclasses import replace

import pytest

from lab.base import TrainingError
from lab.cli import demo, main, training
from lab.cli.bench import BENCHES
from lab.cli.experiment import EXPERIMENTS
from lab.cli.main import COMMANDS
from lab.store import RunReader, RunWriter
from lab.train import TrainingLoop

SMALL = [
    *("--train-limit", "300", "--init-channels", "4", "--layers", "1", "--batch-size", "32", "--threads", "1"),
    *("--prior", "none", "--warmup-epochs", "1", "--arch-training-epochs", "1", "--weight-training-epochs", "1"),
    *("--total-cycles", "2", "--retraining-epochs", "0"),
    *("--device", "cpu"),
]


def refused(capsys, arguments, *words, code=2):
    assert main(arguments) == code
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert all(word in lines[0] for word in words), lines[0]
    assert "expected" in lines[0]
    assert ", got " in lines[0] or ", found " in lines[0]


def test_overview_names_every_command(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_overview_explains_the_two_names_of_the_project(capsys):
    main(["--help"])
    text = capsys.readouterr().out
    assert "ASO-SE: alternating stable optimization with stochastic exploration" in text
    assert "MAHIA-X: " in text


def test_unknown_command_is_bad_usage(capsys):
    refused(capsys, ["fly"], "'fly'", "See lab --help")
    refused(capsys, ["trian"], "Did you mean train?")
    refused(capsys, ["runs", "shwo"], "Did you mean show?")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset", "cifar11"], ["cifar11"]),
        (["--dataset", "cifar10", "--data-dir", "nowhere"], ["nowhere", "--download"]),
        (["--dataset", "nowhere.npz"], ["nowhere.npz"]),
        (["--space", "nb202"], ["nb201", "'nb202'"]),
        (["--device", "tpu"], ["tpu"]),
        (["--device", "cuda:99"], ["cuda"]),
        (["--warmup-epochs", "-1"], ["warmup_epochs >= 0", "warmup_epochs = -1"]),
        (["--arch-training-epochs", "-2"], ["arch_training_epochs >= 0"]),
        (["--weight-training-epochs", "-1"], ["weight_training_epochs >= 0"]),
        (["--epochs", "0"], ["epochs >= 1"]),
        (["--mutation-strength", "1.5"], ["mutation_strength"]),
        (["--batch-size", "5000"], ["5000"]),
        (["--recipe", "magic"], ["aso-se, fixed"]),
        (["fixed", "--fixed-cell", "|x~0|"], ["--fixed-cell"]),
        (["magic"], ["aso-se, fixed", "'magic'"]),
        (["fixd"], ["Did you mean fixed?"]),
        (["--epoch-count", "3"], ["--epoch-count", "Did you mean"]),
        (["--epochs", "three"], ["--epochs", "'three'"]),
        (["--epochs"], ["--epochs"]),
        (["fixed", "--recipe", "agent"], ["fixed and --recipe agent"]),
        (["--memory-fraction", "0.5", "--device", "cpu"], ["--memory-fraction", "CUDA"]),
        (["--resume", "latest"], ["a run with a checkpoint"]),
        (["--resume", "nothing.pt"], ["nothing.pt"]),
        (["--name", "../up"], ["../up"]),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    refused(capsys, ["train", *flags], *words)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir()), "nothing may be left behind"


@pytest.mark.parametrize(
    "flags", [["--name", "../up"], ["--name", "a"], ["--memory-fraction", "0.5", "--device", "cpu"]]
)
def test_bad_usage_is_refused_before_the_run_is_planned(capsys, tmp_path, monkeypatch, flags):
    monkeypatch.setattr(training, "plan_run", lambda *args, **kwargs: pytest.fail("it was planned"))
    with RunWriter(tmp_path, "a"):
        pass
    refused(capsys, ["train", "--save-dir", str(tmp_path), *flags], flags[0].removeprefix("--").split("-")[0])


def test_underscores_and_dashes_are_the_same_flag(capsys, tmp_path):
    assert main(["train", *SMALL, "--save_dir", str(tmp_path), "--init_channels", "4", "--name", "a", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["name"] == "a"
    assert report["epochs"] == 5
    assert RunReader(tmp_path / "a").state() == "finished"
    refused(capsys, ["train", *SMALL, "--save-dir", str(tmp_path), "--name", "a"], "a")
    # Taking it up again with another architecture is refused by name of the setting.
    refused(
        capsys, ["train", "--save-dir", str(tmp_path), "--resume", "latest", "--init-channels", "8"], "init_channels"
    )
    assert main(["runs", "--save-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "finished"


def test_a_run_that_fails_exits_with_1_and_is_marked_failed(capsys, tmp_path, monkeypatch):
    def fail(self):
        raise TrainingError("a loss that falls", "a loss that does not", "lower --weight-lr")

    monkeypatch.setattr(TrainingLoop, "run_epoch", fail)
    assert main(["train", *SMALL, "--save-dir", str(tmp_path), "--name", "a"]) == 1
    intention, error = capsys.readouterr().err.strip().splitlines()
    assert intention.startswith("training aso-se on digits: 5 epochs")
    assert error.startswith("lab: expected a loss that falls, got a loss that does not")
    assert RunReader(tmp_path / "a").state() == "failed"


def test_runs_lists_an_unreadable_folder_as_what_it_is(capsys, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "events.db").write_bytes(b"this is no database, whatever its name says" * 50)
    assert main(["runs", "--save-dir", str(tmp_path)]) == 0
    assert "unreadable" in capsys.readouterr().out
    refused(capsys, ["train", "--resume", str(tmp_path / "bad")], "bad")


def test_a_foreign_checkpoint_is_refused(capsys, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04 not ours")
    refused(capsys, ["train", "--resume", str(tmp_path / "model.pt")], "model.pt")


def test_a_port_in_use_is_refused(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(capsys, ["dashboard", "--port", port, "--save-dir", str(tmp_path), "--no-browser"], port, "in use")
        refused(capsys, ["demo", "--port", port, "--save-dir", str(tmp_path), "--no-browser"], port, "in use")
    refused(capsys, ["dashboard", "--port", "0", "--save-dir", str(tmp_path), "--no-browser"], "port")


def test_describe_lists_choices_as_json(capsys):
    assert main(["train", "--describe", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["recipes"] == ["aso-se", "fixed", "agent", "multitask", "text"]
    assert {"digits", "multitask", "sentences"} <= {item["name"] for item in payload["datasets"]}
    assert "cpu" in payload["devices"]


def test_describe_gives_each_data_set_a_row_with_units_and_each_origin_another(capsys):
    assert main(["train", "--describe"]) == 0
    lines = capsys.readouterr().out.splitlines()
    columns = next(line for line in lines if "one sample" in line)
    assert columns.split("  ")[0] == "--dataset"
    assert all(word in columns for word in ("classes", "training samples", "test samples", "kind", "here"))
    (form, origin) = [" ".join(line.split()) for line in lines if line.startswith("digits ")]
    assert form == "digits 8x8 pixels, 1 channel 10 1,438 359 real yes"
    assert origin.startswith("digits CC BY 4.0 digits; E. Alpaydin")
    assert any("30 numbers and a text of 15 tokens" in line for line in lines)
    assert "devices  cpu" in "\n".join(lines)


def test_training_says_first_what_it_is_going_to_do(capsys, tmp_path):
    arguments = ["train", *SMALL, "--save-dir", str(tmp_path), "--name", "a"]
    assert main([*arguments, "--epochs", "2", "--json"]) == 0
    told = capsys.readouterr()
    first = told.err.splitlines()[0]
    supernet = json.loads(told.out)["network"]["supernet_parameters"]
    assert first.startswith("training aso-se on digits: 2 epochs, batches of 32, ")
    assert first.endswith(f"a network of {supernet:,} parameters on cpu; folder {tmp_path / 'a'}")
    assert main(["train", "--resume", str(tmp_path / "a")]) == 0
    assert "training aso-se" not in capsys.readouterr().err, "a finished run trains no more"
    assert main(["train", "--resume", str(tmp_path / "a"), "--extend", "1"]) == 0
    assert "aso-se on digits: epochs 3 to 3, batches" in capsys.readouterr().err.splitlines()[0]


def test_doctor_reports_the_machine(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert {"torch", "device", "sqlite", "port 8501"} <= set(facts)
    assert main(["doctor"]) == 0
    assert "digits" in capsys.readouterr().out


def test_bench_names_what_it_can_measure(capsys):
    assert main(["bench"]) == 0
    assert "supernet" in capsys.readouterr().out
    refused(capsys, ["bench", "luck"], "'luck'")
    refused(capsys, ["bench", "stor"], "Did you mean store?")
    refused(capsys, ["bench", "serch"], "Did you mean lab experiment search?")
    assert main(["experiment"]) == 0
    assert "ablation" in capsys.readouterr().out
    refused(capsys, ["experiment", "remedy"], "Did you mean remedies?")


def test_every_saved_setting_can_be_repeated_when_resuming(tmp_path, capsys):
    assert main(["train", *SMALL, "--save-dir", str(tmp_path), "--name", "a", "--epochs", "2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    again = ["train", *SMALL, "--save-dir", str(tmp_path), "--resume", "latest", "--epochs", "2", "--json"]
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == first["digest"]


def test_demo_compares_with_fixed_networks_of_the_same_compute(capsys, tmp_path, monkeypatch):
    inner = demo.demo_config

    def short(command):
        config = inner(command)
        search = replace(
            config.search,
            prior_evaluations=25,
            weight_training_epochs=1,
            arch_training_epochs=1,
            retraining_epochs=2,
        )
        return replace(config, search=search, init_channels=2, data=replace(config.data, train_limit=300))

    monkeypatch.setattr(demo, "demo_config", short)
    assert main(["demo", "--headless", "--save-dir", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["evolved", "start", "six", "final"]
    assert result["final"]["network"]["genotype"] == result["evolved"]["network"]["genotype"]
    evolved = result["evolved"]["network"]
    assert evolved["growths"] == 3
    assert evolved["mutations"]["applied"] == 0, "so few held-out images tell nothing"
    assert evolved["largest_difference"] <= 1e-5
    assert result["final"]["network"]["parameters"] == evolved["parameters"]
    assert evolved["parameters"] > 3 * result["start"]["network"]["parameters"]
    assert result["six"]["network"]["parameters"] > result["start"]["network"]["parameters"]
    assert result["evolved"]["epochs"] == 9
    assert result["six"]["epochs"] < result["start"]["epochs"]


@pytest.mark.parametrize(("part", "table"), [("bench", BENCHES), ("experiments", EXPERIMENTS)])
def test_every_measurement_that_is_listed_has_a_module_that_measures(part, table):
    for name, measurement in table.items():
        module = importlib.import_module(f"lab.{part}.{measurement.module or name}")
        assert callable(module.run), name
        assert callable(module.summary), name
        assert measurement.settings.__name__ in vars(module), name
