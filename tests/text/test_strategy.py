"""Runs of recipe text: they learn, resume to the same bits, prove their encoder, and refuse in one line."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from lab.base import CheckpointError, ConfigError, MaterializeError
from lab.checkpoint import list_checkpoints, load_checkpoint
from lab.cli import main
from lab.datasets import DataConfig
from lab.runs import NetworkInput, Run, build, find_checkpoint, saved_config
from lab.store import RunReader
from lab.text import CriteriaModel, EvidenceModel, JointModel, SharedModel, write_sentences
from lab.train import NullSink, Rollback, TrainingLoop, serve

MODELS = {"criteria": CriteriaModel, "evidence": EvidenceModel, "share": SharedModel, "joint": JointModel}


@pytest.fixture(autouse=True)
def transformers():
    return pytest.importorskip("transformers")


def loop_of(config):
    parts = build(config)
    loop = TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        NullSink(),
        epochs=config.total_epochs,
        save=lambda reason: None,
        save_every=1,
    )
    return parts, loop


def test_the_class_and_the_span_of_the_synthetic_sentences_are_learnt(run_config):
    text = {"tiny_dim": 32, "tiny_heads": 4, "dropout": 0.0}
    parts, loop = loop_of(run_config("share", text=text, epochs=6, weight_lr=5e-3, batch_size=32))
    loop.run()
    first, last = loop.history[0], loop.history[-1]
    assert last["loss"] < 0.3 * first["loss"]
    assert last["decision_accuracy"] > 0.9  # 60 % are normal
    assert type(parts.strategy.network) is SharedModel


@pytest.mark.parametrize("task", MODELS)
def test_each_task_has_its_model_and_takes_a_step(run_config, task):
    parts = build(run_config(task))
    assert type(parts.strategy.network) is MODELS[task]
    before = {name: value.clone() for name, value in parts.strategy.network.state_dict().items()}
    parts.strategy.begin_epoch(0, 0, parts.data)
    report = parts.strategy.step(*next(parts.data.batches("train", 0)))
    after = parts.strategy.network.state_dict()
    still = [name for name in before if torch.equal(before[name], after[name])]
    assert still == []
    assert report.grad_norm > 0
    assert 0 <= report.accuracy <= 1


def test_micro_batches_give_the_gradient_of_the_whole_batch(run_config):
    found = []
    for parts_of_batch in (1, 4):
        config = run_config(text={"dropout": 0.0}, grad_accum_steps=parts_of_batch)
        parts = build(config)
        parts.strategy.begin_epoch(0, 0, parts.data)
        found.append(parts.strategy.step(*next(parts.data.batches("train", 0))))
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-5)
    assert found[1].grad_norm == pytest.approx(found[0].grad_norm, rel=1e-4)
    assert found[1].accuracy == pytest.approx(found[0].accuracy)


class Interrupt:
    """Sends Ctrl-C in the middle of the second epoch."""

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) == (1, 3):
            os.kill(os.getpid(), signal.SIGINT)

    def on_text(self, text):
        pass


@pytest.mark.parametrize("task", ["criteria", "joint"])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(run_config, tmp_path, task):
    config = run_config(task, text={"dropout": 0.2})
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    assert Run(config, save_dir=tmp_path, name="b", observer=Interrupt()).execute().state == "stopped"
    path = find_checkpoint(str(tmp_path / "b"), tmp_path)
    assert saved_config(path) == config
    again = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert again.digest == whole.digest
    assert (again.test_loss, again.test_accuracy) == (whole.test_loss, whole.test_accuracy)
    assert RunReader(tmp_path / "b").config()["synthetic"] is True
    with pytest.raises(CheckpointError, match="recipe text, whose network takes the tokens of a sentence"):
        NetworkInput.of(load_checkpoint(path))


KILLED = """
import json, os, signal, sys
from lab.runs import Run, RunConfig

class Killer:
    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if (epoch, batch) == (1, 3):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_text(self, text):
        pass

config = RunConfig.from_json(json.loads(sys.argv[2]))
Run(config, save_dir=sys.argv[1], name="killed", observer=Killer()).execute()
"""


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bits(run_config, run_code, tmp_path):
    config = run_config("share", text={"dropout": 0.2}, checkpoint_frequency=1)
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    status, output = run_code(KILLED, tmp_path, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    assert RunReader(tmp_path / "killed").state() == "stale"
    path = find_checkpoint(str(tmp_path / "killed"), tmp_path)
    again = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert again.digest == whole.digest
    assert (again.test_loss, again.test_accuracy) == (whole.test_loss, whole.test_accuracy)


def test_a_rollback_restores_the_beginning_of_the_epoch(run_config):
    parts = build(run_config())
    strategy = parts.strategy
    strategy.begin_epoch(0, 0, parts.data)
    before = {name: value.clone() for name, value in strategy.network.state_dict().items()}
    strategy.step(*next(parts.data.batches("train", 0)))
    serve(strategy.offers, Rollback(reason="a test"), None)
    assert all(torch.equal(value, before[name]) for name, value in strategy.network.state_dict().items())


def test_vectors_do_not_decay_and_a_frozen_encoder_stays(run_config):
    parts = build(run_config(text={"freeze_encoder": True}))
    strategy = parts.strategy
    matrices, vectors = strategy.trainer.optimizer.param_groups
    assert all(each.ndim > 1 for each in matrices["params"])
    assert all(each.ndim <= 1 for each in vectors["params"])
    assert (matrices["weight_decay"] > 0, vectors["weight_decay"]) == (True, 0.0)
    before = {name: value.clone() for name, value in strategy.network.encoder.state_dict().items()}
    strategy.begin_epoch(0, 0, parts.data)
    strategy.step(*next(parts.data.batches("train", 0)))
    assert all(torch.equal(value, before[name]) for name, value in strategy.network.encoder.state_dict().items())


@pytest.mark.parametrize("encoder", ["roberta", "gpt2"])
def test_a_run_on_an_encoder_from_disk_tells_its_proof(run_config, encoders, tmp_path, encoder):
    config = run_config(text={"encoder": str(encoders[encoder]), "max_length": 38}, epochs=1)
    report = Run(config, save_dir=tmp_path, name="a").execute()
    (digest,) = report.network["encoder_digests"]
    assert len(digest) == 64
    titles = [event.payload["title"] for event in RunReader(tmp_path / "a").events(kinds=("alert",)).events]
    assert titles == ["Encoder proven"]


def test_a_table_that_was_changed_is_refused_when_a_run_is_resumed(run_config, tmp_path):
    rows = write_sentences(200)
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    config = run_config(batch_size=32, epochs=2, checkpoint_frequency=1)
    config = replace(config, data=DataConfig(name=str(path)))
    Run(config, save_dir=tmp_path, name="a").execute()
    (tmp_path / "a" / "report.json").unlink()
    file = next(file for file in list_checkpoints(tmp_path / "a" / "checkpoints") if file.reason == "epoch")
    path.write_text("\n".join(json.dumps(row) for row in rows[:-1]))
    with pytest.raises(CheckpointError, match="the table and the tokenizer"):
        Run(saved_config(file.path), save_dir=tmp_path, resume=file.path).execute()


def test_an_encoder_that_does_not_fit_is_refused(run_config, encoders, tmp_path):
    with pytest.raises(ConfigError, match="pooling mean, max or attention"):
        build(run_config(text={"encoder": str(encoders["gpt2"]), "pooling": "cls"}))
    rows = [*write_sentences(200), {"text": "the " * 60, "label": "normal"}]
    (tmp_path / "long.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    config = replace(
        run_config(text={"encoder": str(encoders["roberta"])}, batch_size=32),
        data=DataConfig(name=str(tmp_path / "long.jsonl")),
    )
    with pytest.raises(ConfigError, match=r"sentences of at most 39 tokens.*--max-length 39"):
        build(config)
    build(replace(config, text=replace(config.text, max_length=39)))


def refused(capsys, folder, *arguments):
    """The one line of the error stream of a command that is refused, when nothing was written."""
    assert main(["train", "text", *arguments, "--device", "cpu", "--save-dir", str(folder / "runs")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert not (folder / "runs").exists()
    return line


def test_bad_input_is_one_line_and_nothing_is_written(capsys, tmp_path, encoders, run_config):
    table = tmp_path / "t.tsv"
    table.write_text("text\tlabel\tspans\na b\tx\t0:1\nb c\tx\t0:9\n")
    given = ("--dataset", str(table))
    assert "the columns text, intent" in refused(capsys, tmp_path, *given, "--label-column", "intent")
    assert "at least two classes" in refused(capsys, tmp_path, *given)
    assert "inside their sentence" in refused(capsys, tmp_path, *given, "--task", "evidence")
    folder = shutil.copytree(encoders["roberta"], tmp_path / "encoder")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert "a whole safetensors file" in refused(capsys, tmp_path, "--encoder", str(folder))
    file.unlink()
    assert "weights as safetensors" in refused(capsys, tmp_path, "--encoder", str(folder))
    # The load that a study's fork server makes, before the study has a folder.
    pytest.importorskip("optuna")
    from lab.tune.evaluate import prepare

    base = run_config(text={"encoder": str(folder)}).to_json()
    with pytest.raises(MaterializeError, match=r"weights as safetensors, found no model\.safetensors in"):
        prepare(base)
    file.write_bytes(b"cut short")
    with pytest.raises(MaterializeError, match=r"a whole safetensors file.*model\.safetensors of 9 bytes"):
        prepare(base)
    file.unlink()
    assert "a folder with an encoder" in refused(capsys, tmp_path, "--encoder", str(tmp_path / "none"))
    assert "weight_lr <= 0.01" in refused(capsys, tmp_path, "--weight-lr", "0.1")
