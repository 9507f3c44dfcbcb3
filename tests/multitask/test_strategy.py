import json
import math
import signal

import pytest
import torch
from torch import nn

from lab.base import CheckpointError, ConfigError, DataError, TrainingError
from lab.checkpoint import load_checkpoint
from lab.cli import main
from lab.datasets import DataConfig, Task, load_multitask
from lab.mahia import HybridEfficientModel
from lab.monitor import StabilityMonitor
from lab.multitask import WEIGHTINGS, LossWeights, MultitaskConfig, MultitaskStrategy, TaskLosses
from lab.runs import NetworkInput, Run, RunConfig, build, find_checkpoint, saved_config
from lab.store import RunReader
from lab.train import (
    Mutate,
    OptimizerConfig,
    RequestContext,
    Rollback,
    SetTemperature,
    SingleProcess,
    Split,
    StrategyState,
    TrainingLoop,
    evaluate,
    serve,
)

TASKS = ("diagnosis", "worst_area", "worst_texture")
SMALL = {"embed_dim": 8, "table_dim": 16, "fused_dim": 16, "memory_nodes": 8, "fabric_layers": 2}


def make(weighting="sum", *, epochs=3, search=None, model=None, **fields):
    return RunConfig.from_fields(
        recipe="multitask",
        name="multitask",
        epochs=epochs,
        batch_size=32,
        threads=1,
        **({"device": "cpu", "checkpoint_frequency": 1} | (search or {})),
        multitask=MultitaskConfig(**({"weighting": weighting} | SMALL | (model or {}))),
        **fields,
    )


def loop_of(config, sink, saved=None):
    parts = build(config)
    loop = TrainingLoop(
        parts.strategy,
        parts.data,
        StabilityMonitor(config.monitor),
        sink,
        epochs=config.total_epochs,
        save=lambda reason: None if saved is None else saved.append(reason),
        save_every=1,
    )
    return parts, loop


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run of each weighting that went through."""
    runs = {}
    folder = tmp_path_factory.mktemp("whole")
    for weighting in WEIGHTINGS:
        runs[weighting] = Run(
            make(weighting, epochs=12, search={"checkpoint_frequency": 12}), save_dir=folder, name=weighting
        ).execute()
    return runs


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weighting_learns_every_task(whole, weighting):
    report = whole[weighting]
    assert report.history[-1]["loss"] < 0.5 * report.history[0]["loss"]
    assert report.test_accuracy > 0.88  # 63 % are benign
    # a squared error of 1 is that of the mean
    assert report.test_losses["worst_area"] < 0.3
    assert report.test_losses["worst_texture"] < 0.8
    assert math.isclose(sum(report.test_losses.values()), report.test_loss, rel_tol=1e-6)


def test_the_weightings_are_four_different_trainings(whole):
    assert len({report.digest for report in whole.values()}) == len(WEIGHTINGS)
    for weighting, report in whole.items():
        weights = report.network["weights"]
        assert sum(weights) == pytest.approx(3, abs=1e-5)
        assert (weights == [1, 1, 1]) == (weighting in ("sum", "pcgrad"))


def test_the_store_says_what_is_synthetic_and_holds_every_curve(whole):
    reader = RunReader(whole["gradnorm"].run_dir)
    assert reader.config()["synthetic"] is True
    assert "synthetic texts" in reader.config()["dataset_title"]
    assert "synthetic texts" in whole["gradnorm"].dataset
    rows = reader.scalars()
    names = set(rows.name)
    for task in TASKS:
        assert {f"{kind}/{task}" for kind in ("loss", "weight", "norm", "decision/loss", "test/loss")} <= names
    shares = [
        sum(v for n, s, v in zip(rows.name, rows.step, rows.value, strict=True) if s == step and "load/" in n)
        for step in (0, 50)
    ]
    assert shares == pytest.approx([1, 1], abs=1e-6)
    steps = {step for name, step in zip(rows.name, rows.step, strict=True) if name.startswith("component/")}
    assert steps == {0}
    found = dict(zip(rows.name, rows.value, strict=True))
    model = HybridEfficientModel(2, 1, 1, 1, memory_size=8, fused_dim=16)
    assert found["component/memory/parameters"] == sum(p.nbytes for p in model.memory.parameters())
    assert found["component/(whole model)/parameters"] == 4 * whole["gradnorm"].network["parameters"]


def test_the_terminal_tells_what_each_component_needs_and_that_there_is_no_cell(whole, capsys):
    assert main(["runs", "show", whole["sum"].run_dir]) == 0
    shown = capsys.readouterr().out
    assert "none: recipe multitask trains a model of text and a table" in shown
    (row,) = [line.split() for line in shown.splitlines() if line.startswith("memory  ")]
    model = HybridEfficientModel(2, 1, 1, 1, memory_size=8, fused_dim=16)
    assert int(row[1].replace(",", "")) == sum(p.nbytes for p in model.memory.parameters())
    assert "component/" not in shown


def test_dwa_moves_its_weights_once_an_epoch_and_gradnorm_each_step(whole):
    for weighting, epochs_alike in (("dwa", True), ("gradnorm", False)):
        rows = RunReader(whole[weighting].run_dir).scalars(names=["weight/diagnosis"])
        values = list(rows.value)
        length = len(values) // 12
        last = values[-length:]
        assert (len(set(last)) == 1) == epochs_alike
        assert len(set(values)) > 3


def test_one_step_gives_the_gradients_of_the_weighted_sum_and_of_the_balance_loss():
    config = make(model={"balance_weight": 0.5}, search={"grad_clip": 1e9, "weight_lr": 1e-30})
    parts = build(config)
    strategy, model = parts.strategy, parts.strategy.model
    state = {name: value.clone() for name, value in model.state_dict().items()}
    (ids_BL, table_BC), targets = next(parts.data.batches(Split.TRAIN, 0))
    strategy.begin_epoch(0, 1, parts.data)
    report = strategy.step((ids_BL, table_BC), targets)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.load_state_dict(state)
    model.zero_grad()
    heads = {}
    hooks = [model.feed_forward.register_forward_pre_hook(lambda module, x: heads.update(x=x[0]))]
    outputs = model(ids_BL, table_BC)
    hooks[0].remove()
    losses = [
        nn.functional.cross_entropy(outputs["diagnosis"], targets["diagnosis"]),
        nn.functional.mse_loss(outputs["worst_area"][:, 0], targets["worst_area"]),
        nn.functional.mse_loss(outputs["worst_texture"][:, 0], targets["worst_texture"]),
    ]
    balance = model.feed_forward.route(heads["x"]).balance_loss
    (sum(losses) + 0.5 * balance).backward()
    assert [report.more[f"loss/{task}"] for task in TASKS] == pytest.approx([float(loss.detach()) for loss in losses])
    assert report.more["router/balance"] == pytest.approx(float(balance.detach()))
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-6), name


def test_the_encoder_runs_once_a_step_whatever_the_weighting():
    for weighting in WEIGHTINGS:
        parts = build(make(weighting))
        calls = []
        parts.strategy.model.kernel.register_forward_hook(lambda *args, calls=calls: calls.append(1))
        parts.strategy.begin_epoch(0, 1, parts.data)
        parts.strategy.step(*next(parts.data.batches(Split.TRAIN, 0)))
        assert len(calls) == 1


# The loss scale moves the same way whatever the weighting.
CUT = [("float32", weighting) for weighting in WEIGHTINGS]
CUT += [
    pytest.param("fp16", weighting, marks=() if weighting == "gradnorm" else pytest.mark.large)
    for weighting in WEIGHTINGS
]


@pytest.mark.parametrize(("precision", "weighting"), CUT)
def test_a_run_cut_inside_an_epoch_goes_on_with_the_same_bits(sink, weighting, precision):
    config = make(weighting, precision=precision, model={"bias_rate": 0.01})
    parts, through = loop_of(config, sink)
    through.run()
    # a rule that needs two epochs has moved, and so have the router's bias and the memory
    assert parts.strategy.model.feed_forward.selection_bias.abs().max() > 0
    _, first = loop_of(config, sink)
    first.observer = Cut(first, after=27)
    with pytest.raises(Exception, match="interrupted"):
        first.run()
    assert (first.epoch, first.batch) == (2, 3)
    state, history = first.state_dict(), tuple(first.history)
    torch.manual_seed(99)
    _, second = loop_of(config, sink)
    second.load_state_dict(state, history)
    second.run()
    assert_equal(second.state_dict(), through.state_dict())
    assert second.history == through.history


class Cut:
    def __init__(self, loop, after):
        self.loop, self.left = loop, after

    def on_step(self, *args):
        self.left -= 1
        if not self.left:
            self.loop.interrupt()

    def on_text(self, text):
        pass


def assert_equal(one, two, path=""):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), path
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), path
        for key in one:
            assert_equal(one[key], two[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), path
        for number, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_equal(a, b, f"{path}[{number}]")
    else:
        assert one == two or (one != one and two != two), path


KILLED = """
import json, os, signal, sys
from lab.runs import Run, RunConfig

class Killer:
    def on_step(self, epoch, epochs, now, batch, batches, loss):
        if epoch == 2 and batch == 4:
            os.kill(os.getpid(), signal.SIGKILL)
    def on_text(self, text):
        pass

Run(RunConfig.from_json(json.loads(sys.argv[2])), save_dir=sys.argv[1], name="killed", observer=Killer()).execute()
"""


def test_a_killed_run_ends_with_the_same_bits_after_it_was_resumed(run_code, tmp_path):
    config = make("gradnorm", model={"bias_rate": 0.01})
    whole = Run(config, save_dir=tmp_path, name="whole").execute()
    status, output = run_code(KILLED, tmp_path, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "killed"), tmp_path)
    assert load_checkpoint(path).epoch == 2
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert resumed.test_losses == whole.test_losses


def test_a_loss_that_is_not_finite_changes_no_parameter_and_no_weight():
    parts = build(make("gradnorm"))
    strategy = parts.strategy
    strategy.begin_epoch(0, 1, parts.data)
    inputs, targets = next(parts.data.batches(Split.TRAIN, 0))
    strategy.step(inputs, targets)
    before = [p.detach().clone() for p in strategy.model.parameters()]
    weights = strategy.weights.weights
    report = strategy.step(inputs, {**targets, "worst_area": targets["worst_area"] * math.inf})
    assert not math.isfinite(report.loss)
    assert all(torch.equal(one, two) for one, two in zip(before, strategy.model.parameters(), strict=True))
    assert strategy.weights.weights == weights


def test_a_rollback_restores_network_memories_and_weights():
    parts = build(make("gradnorm", model={"bias_rate": 0.01}))
    strategy = parts.strategy
    strategy.begin_epoch(0, 1, parts.data)
    before = {name: value.clone() for name, value in strategy.model.state_dict().items()}
    rule = strategy.weights.state_dict()
    for inputs, targets in parts.data.batches(Split.TRAIN, 0):
        strategy.step(inputs, targets)
    assert strategy.weights.state_dict() != rule
    assert not torch.equal(before["memory.state.nodes_MD"], strategy.model.state_dict()["memory.state.nodes_MD"])
    serve(strategy.offers, Rollback(reason="a test"), RequestContext(epoch=0, step=1, data=parts.data))
    assert_equal(dict(strategy.model.state_dict()), before)
    assert strategy.weights.state_dict() == rule


def test_the_decision_split_is_read_in_eval_mode_by_task():
    parts = build(make())
    before = {name: value.clone() for name, value in parts.strategy.model.state_dict().items()}
    reading = parts.strategy.end_epoch(0, parts.data)
    assert_equal(dict(parts.strategy.model.state_dict()), before)
    assert list(reading.parts) == list(TASKS)
    assert sum(reading.parts.values()) == pytest.approx(reading.loss)
    samples = len(load_multitask(selection_share=DataConfig().selection_share).selection)
    assert len(reading.losses_N) == samples
    assert evaluate(parts.strategy.model, parts.data.selection(), parts.criterion).loss == reading.loss


def test_pcgrad_sees_the_conflict_that_the_sum_leaves_in():
    names = ("a", "b")
    features = torch.randn(4, 3, requires_grad=True)
    direction = torch.tensor([1.0, 0.0, 0.0])

    def losses(leaf):
        return [(leaf @ direction).mean(), (leaf @ (torch.tensor([0.0, 1.0, 0.0]) - direction)).mean()]

    gradients = {}
    for weighting in ("sum", "pcgrad"):
        features.grad = None
        result = LossWeights(MultitaskConfig(weighting=weighting), names, seed=0).backward(features, losses)
        assert float(result.conflict) == 1.0
        gradients[weighting] = features.grad
    assert torch.allclose(gradients["sum"], torch.tensor([0.0, 0.25, 0.0]).expand(4, 3))
    assert torch.allclose(gradients["pcgrad"], torch.tensor([0.125, 0.375, 0.0]).expand(4, 3))


def test_the_weights_of_a_rule_multiply_the_gradients():
    features = torch.zeros(1, 2, requires_grad=True)
    weights = LossWeights(MultitaskConfig(weighting="gradnorm"), ("a", "b"), seed=0)
    weights.load_state_dict({"rule": {"weights": [0.5, 1.5], "first": [1.0, 1.0]}, "sums": [0.0, 0.0], "steps": 0})
    result = weights.backward(features, lambda leaf: [4 + 2 * leaf[0, 0], leaf[0, 1] - 3], scale=8.0)
    assert features.grad.tolist() == [[8.0, 12.0]]
    assert (result.losses_K.tolist(), result.norms_K.tolist()) == ([4.0, -3.0], [2.0, 1.0])
    assert float(result.conflict) == 0.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": DataConfig()}, "recipe multitask and data set multitask together, got multitask and digits"),
        ({"recipe": "fixed"}, "recipe multitask and data set multitask together, got fixed and multitask"),
        ({"grad_accum_steps": 2}, "grad_accum_steps 1 with recipe multitask"),
        ({"compile": True}, "compile False with recipe multitask"),
        ({"workers": 1}, "workers 0 with recipe multitask"),
        ({"on_oom": "smaller"}, "on_oom stop with recipe multitask"),
        ({"optimizer": OptimizerConfig(weight_average=0.9)}, "weight_average 0 with recipe multitask"),
        ({"adaptive_batch": "on"}, "adaptive_batch auto or off"),
        ({"data": DataConfig(name="multitask", train_limit=50)}, "all records of multitask"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig(**({"recipe": "multitask", "data": DataConfig(name="multitask")} | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weighting": "average"}, "weighting"),
        ({"experts_per_sample": 5}, "experts_per_sample"),
        ({"experts": 0}, "experts"),
        ({"embed_dim": 6}, "multiple of 4"),
        ({"balance_weight": -1.0}, "balance_weight"),
        ({"dwa_temperature": 0.0}, "dwa_temperature"),
    ],
)
def test_settings_outside_their_range_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        MultitaskConfig(**fields)


def test_a_batch_larger_than_the_records_is_refused():
    with pytest.raises(DataError, match="387 samples of the train part"):
        build(RunConfig(recipe="multitask", data=DataConfig(name="multitask"), batch_size=400))


def test_tasks_and_outputs_that_do_not_belong_together_are_refused():
    with pytest.raises(ConfigError, match="a task with classes"):
        TaskLosses([Task(name="amount")])
    model = HybridEfficientModel(4, 3, 2, {"kind": 2}, embed_dim=4, tab_hidden_dim=4, fused_dim=4)
    losses = TaskLosses([Task(name="other", classes=("a", "b"))])
    with pytest.raises(ConfigError, match="outputs other"):
        MultitaskStrategy(model, losses, OptimizerConfig(), MultitaskConfig(), seed=0, epochs=1)


def test_what_this_recipe_cannot_do_is_refused_in_words(whole):
    parts = build(make())
    moment = RequestContext(epoch=0, step=0, data=parts.data)
    for request in (Mutate(), SetTemperature(temperature=1.0)):
        with pytest.raises(TrainingError, match=rf"offers now \(reduce_lr, rollback\).*{request.name}"):
            serve(parts.strategy.offers, request, moment)
    with pytest.raises(CheckpointError, match="recipe multitask"):
        parts.strategy.restore(StrategyState.saved({"network": {}}))
    with pytest.raises(TrainingError, match="a run on images"):
        _ = parts.streams
    checkpoint = load_checkpoint(find_checkpoint(whole["sum"].run_dir, ""))
    with pytest.raises(CheckpointError, match="takes a text and a table"):
        NetworkInput.of(checkpoint)


def test_several_ranks_are_refused():
    class Two(SingleProcess):
        size = 2

    with pytest.raises(ConfigError, match="one process with recipe multitask"):
        build(make(), Two())


def test_a_run_that_diverges_is_rolled_back_and_then_fails_in_words(tmp_path):
    config = make("gradnorm", epochs=6, search={"weight_lr": 1e6, "grad_clip": 1e9, "save_checkpoints": False})
    with pytest.raises(TrainingError, match="rollbacks in a row"):
        Run(config, save_dir=tmp_path, name="wild").execute()
    events = RunReader(tmp_path / "wild").events(kinds=("intervention",)).events
    assert {event.payload["action"] for event in events} == {"rollback"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "fp16", "bf16"])
def test_a_run_on_a_gpu_learns_every_task_and_has_every_tensor_there(tmp_path, precision):
    config = make("gradnorm", epochs=12, search={"device": "cuda", "weight_lr": 0.025}, precision=precision)
    run = Run(config, save_dir=tmp_path, name="gpu")
    report = run.execute()
    assert report.history[-1]["loss"] < 0.5 * report.history[0]["loss"]
    tensors = [*run.parts.strategy.model.parameters(), *run.parts.strategy.model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
