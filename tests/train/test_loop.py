import dataclasses
import math

import pytest
import torch

from lab.base import TrainingError
from lab.monitor import StabilityMonitor
from lab.runs import build
from lab.state import state_digest
from lab.store import Command
from lab.train import Split, Stopped, TrainingLoop


def make_loop(config, sink, saved=None):
    parts = build(config)
    return TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        sink,
        epochs=config.total_epochs,
        save=(saved if saved is not None else []).append,
        save_every=config.checkpoints.checkpoint_frequency,
    )


def run_until(loop, phase):
    while loop.strategy.phase != phase:
        loop.run_epoch()


def network_bits(loop):
    live = loop.strategy.live
    state = live.state_dict()
    # The learning rate is lowered after a rollback, on purpose; everything else must be the same bits.
    state["optimizer"] = state["optimizer"]["state"]
    return state_digest({"live": state, "alpha": loop.strategy.explorer.alpha.detach()})


def test_the_monitor_sees_every_step_and_its_health_is_stored(make_config, sink):
    loop = make_loop(make_config(), sink)
    loop.run_epoch()
    steps = [row for row in sink.rows if "loss" in row[1]]
    assert len(steps) == loop.data.length(Split.TRAIN)
    assert all({"loss", "accuracy", "grad_norm", "lr", "health"} <= set(values) for _, values in steps)
    assert [step for step, _ in steps] == list(range(len(steps)))


def test_warmup_trains_weights_alone_and_arch_training_architecture_alone(make_config, sink):
    loop = make_loop(make_config(), sink)
    alpha = loop.strategy.explorer.alpha.detach().clone()
    run_until(loop, "arch_training")
    assert torch.equal(loop.strategy.explorer.alpha, alpha)
    weights = [parameter.detach().clone() for parameter in loop.strategy.live.supernet.parameters()]
    loop.run_epoch()
    assert not torch.equal(loop.strategy.explorer.alpha, alpha)
    now = list(loop.strategy.live.supernet.parameters())
    assert all(torch.equal(old, new) for old, new in zip(weights, now, strict=True))
    assert all(parameter.requires_grad for parameter in now)


def test_each_phase_reads_its_own_split_and_none_reads_test(make_config, sink):
    loop = make_loop(make_config(), sink)
    asked = []
    inner = loop.data.batches
    loop.data.batches = lambda part, epoch, start=0: (
        asked.append((loop.strategy.phase, part)) or inner(part, epoch, start)
    )
    loop.data.test = lambda: pytest.fail("the test split was read while training")
    loop.run()
    assert set(asked) == {
        ("warmup", "train"),
        ("arch_training", "search"),
        ("weight_retraining", "train"),
    }


def poison(loop):
    with torch.no_grad():
        loop.strategy.live.supernet.backbone.stem.weight.fill_(math.nan)


def test_a_loss_that_is_not_a_number_rolls_back_to_the_bits_before_the_mutation(make_config, sink):
    loop = make_loop(make_config(), sink)
    while not loop.strategy.mutator.pending:
        if loop.strategy.phase == "mutation":
            before = network_bits(loop)
        loop.run_epoch()
    assert sink.of("mutation")[0].status == "applied"
    rejected = loop.strategy.mutator.pending[0].new
    cycle = loop.strategy.cycle
    poison(loop)
    loop.run_epoch()
    assert network_bits(loop) == before
    assert sink.of("mutation")[-1].status == "rejected"
    assert sink.of("intervention")[-1].action == "rollback"
    assert sink.of("rollback")[-1].excluded == rejected.to_json()
    assert loop.strategy.mutator.excluded == (rejected,)
    assert loop.strategy.cycle == cycle + 1
    assert loop.strategy.rate.scale == 0.5


def test_steps_never_go_back_after_a_roll_back(make_config, sink):
    loop = make_loop(make_config(), sink)
    loop.run_epoch()
    poison(loop)
    loop.run_epoch()
    loop.run()
    steps = [step for step, _ in sink.rows]
    assert steps == sorted(steps)
    assert all(math.isfinite(values["loss"]) for step, values in sink.rows if "loss" in values and step > 20)


def test_a_run_that_cannot_be_saved_by_roll_backs_fails(make_config, sink):
    loop = make_loop(make_config(), sink)
    loop.run_epoch()
    poison(loop)
    loop.strategy.controller.restore_point["live"]["supernet"]["backbone.stem.weight"].fill_(math.nan)
    with pytest.raises(TrainingError, match="3 rollbacks in a row"):
        loop.run()


def test_commands_are_carried_out_and_answered(make_config, sink):
    saved = []
    loop = make_loop(make_config(), sink, saved)
    sink.waiting = [
        Command(name="mutate"),
        Command(name="set_temperature", arguments={"temperature": 0.7}),
        Command(name="checkpoint"),
        Command(name="pause"),
        Command(name="resume"),
    ]
    loop.run_epoch()
    answers = {event.command: event for event in sink.of("control")}
    assert not answers["mutate"].done
    assert "a request that this run offers now" in answers["mutate"].text
    assert answers["set_temperature"].done
    assert answers["checkpoint"].done
    assert "control" in saved
    assert loop.strategy.explorer.temperature == 0.7
    assert sink.of("temperature")[0].schedule == "control"


def test_a_temperature_stays_until_it_is_released(make_config, sink):
    loop = make_loop(
        make_config({"temperature_schedule": "cosine", "warmup_epochs": 0, "arch_training_epochs": 3}), sink
    )
    sink.waiting = [Command(name="set_temperature", arguments={"temperature": 1.0})]
    first = loop.global_step
    loop.run_epoch()
    loop.run_epoch()
    held = [values["temperature"] for step, values in sink.rows if step >= first and "temperature" in values]
    assert len(held) == loop.global_step - first
    assert set(held) == {1.0}
    assert all(event.held and event.schedule == "control" for event in sink.of("temperature")[1:])
    scheduled = loop.strategy.explorer.state.temperature
    sink.waiting = [Command(name="release_temperature"), Command(name="release_temperature")]
    loop.run_epoch()
    assert [event.text for event in sink.of("control")][1:] == [
        f"temperature {scheduled:g}, by its schedule again",
        "nothing changed",
    ]
    assert loop.strategy.explorer.temperature == loop.strategy.explorer.state.temperature != 1.0
    last = sink.of("temperature")[-1]
    assert (last.held, last.schedule) == (False, "cosine")


def test_mutate_now_mutates_the_live_network_without_moving_its_output(make_config, sink):
    loop = make_loop(make_config({"weight_training_epochs": 4}), sink)
    while loop.strategy.live.child is None:
        loop.run_epoch()
    before = loop.strategy.live.child.genotype
    sink.waiting = [Command(name="mutate")]
    loop.run_epoch()
    event = next(item for item in sink.of("mutation") if item.requested == "control")
    assert event.status == "applied"
    assert event.difference <= 1e-5
    assert loop.strategy.live.child.genotype != before
    assert sink.of("control")[-1].done
    loop.run()
    decided = [item.status for item in sink.of("mutation") if item.number == event.number]
    assert decided[0] == "applied"
    assert decided[1] in ("accepted", "rejected")
    assert loop.strategy.live.child.transitions == {}


def test_stop_saves_and_ends_the_run(make_config, sink):
    saved = []
    loop = make_loop(make_config(), sink, saved)
    loop.run_epoch()
    sink.waiting = [Command(name="stop")]
    with pytest.raises(Stopped):
        loop.run()
    assert saved[-1] == "interrupt"


def test_beta_rises_to_one_over_the_first_half_and_the_old_primitive_is_dropped(make_config, sink):
    loop = make_loop(make_config({"weight_training_epochs": 4, "reject_z": 1000.0}), sink)
    loop.run()
    betas = [values["beta"] for _, values in sink.rows if "beta" in values]
    half = 2 * loop.data.length(Split.TRAIN)
    assert len(betas) == half
    assert betas == pytest.approx([(i + 1) / half for i in range(half)])
    assert loop.strategy.live.child.transitions == {}
    assert sink.of("mutation")[-1].status == "accepted"


def test_a_mutation_that_makes_the_network_worse_is_taken_back(make_config, sink):
    loop = make_loop(make_config(), sink)
    while not loop.strategy.mutator.pending:
        loop.run_epoch()
    pending = loop.strategy.mutator.pending[0]
    better = dataclasses.replace(pending, losses_N=pending.losses_N - 5.0, loss_before=pending.loss_before - 5.0)
    loop.strategy.mutator.pending = (better,)
    loop.run()
    last = sink.of("mutation")[-1]
    assert last.status == "rejected"
    assert "paired difference +" in last.reason
    assert loop.strategy.live.child.genotype == pending.old


def test_a_run_cut_off_inside_a_hand_over_takes_it_back(make_config, sink):
    loop = make_loop(make_config({"weight_training_epochs": 6}, epochs=2 + 2 + 6 + 2 + 1), sink)
    loop.run()
    assert sink.of("mutation")[-1].status == "rejected"
    assert "not complete" in sink.of("mutation")[-1].reason
    assert loop.strategy.live.child.transitions == {}


def test_early_stopping_ends_the_run(make_config, sink):
    config = make_config({"early_stopping_patience": 1, "performance_threshold": 0.999, "weight_training_epochs": 6})
    loop = make_loop(config, sink)
    loop.run()
    assert loop.epoch < config.total_epochs
    assert any(event.title == "Stopped early" for event in sink.of("alert"))


def test_advice_lowers_the_rate_and_is_an_event(make_config, sink, monkeypatch):
    loop = make_loop(make_config(), sink)
    inner = StabilityMonitor.observe

    def advise(self, **values):
        verdict = inner(self, **values)
        advice = {5: "reduce_lr", 6: "reduce_lr", 20: "reduce_mutation_strength"}.get(values["step"], "none")
        return dataclasses.replace(verdict, advice=advice, reasons=("as the test wants",))

    monkeypatch.setattr(StabilityMonitor, "observe", advise)
    run_until(loop, "arch_training")
    events = sink.of("intervention")
    assert [event.action for event in events] == ["reduce_lr", "reduce_mutation_strength"], (
        "the second advice came too soon"
    )
    assert events[0].after == pytest.approx(events[0].before / 2)
    assert loop.strategy.controller.strength_scale == 0.5


def advise_at(monkeypatch, advice):
    """Let the monitor give this advice at these steps, and none at others."""
    inner = StabilityMonitor.observe

    def observe(self, **values):
        verdict = inner(self, **values)
        return dataclasses.replace(verdict, advice=advice.get(values["step"], "none"), reasons=("as the test wants",))

    monkeypatch.setattr(StabilityMonitor, "observe", observe)


@pytest.mark.parametrize("recipe", ["fixed", "agent"])
def test_a_run_is_advised_only_what_its_strategy_offers(make_config, sink, monkeypatch, recipe):
    loop = make_loop(make_config(recipe=recipe, epochs=1), sink)
    advise_at(monkeypatch, {5: "reduce_mutation_strength"})
    first = loop.strategy.trainer.rate.value
    loop.run_epoch()
    (event,) = sink.of("intervention")
    assert (event.action, event.after) == ("reduce_lr", event.before / 2)
    assert 0 < event.before < first
    assert loop.strategy.trainer.rate.scale == 0.5
    assert {item.advice for item in sink.of("stability")} == {"reduce_lr", "none"}


def test_where_the_mutation_strength_is_at_its_floor_the_rate_is_lowered(make_config, sink, monkeypatch):
    loop = make_loop(make_config(), sink)
    advise_at(monkeypatch, {3: "reduce_mutation_strength"})
    loop.strategy.controller.strength_scale = 1 / 8
    loop.run_epoch()
    assert [event.action for event in sink.of("intervention")] == ["reduce_lr"]
    assert loop.strategy.rate.scale == 0.5


def test_a_phase_tells_which_commands_the_run_serves(make_config, sink):
    loop = make_loop(make_config(), sink)
    loop.run()
    offers = {(event.phase, event.cycle): event.offers for event in sink.of("phase")}
    assert offers["warmup", 0] == ["pause", "resume", "stop", "checkpoint", "release_temperature", "set_temperature"]
    assert "mutate" in offers["weight_retraining", 0]
    assert "mutate" not in offers["finished", 2]
    fixed = make_loop(make_config(recipe="fixed", epochs=1), sink)
    fixed.run_epoch()
    assert sink.of("phase")[-1].phase == "training"
    assert sink.of("phase")[-1].offers == ["pause", "resume", "stop", "checkpoint"]


def test_a_command_that_is_not_offered_is_answered_with_what_is(make_config, sink):
    loop = make_loop(make_config(recipe="fixed", epochs=1), sink)
    sink.waiting = [Command(name="mutate")]
    loop.run_epoch()
    (answer,) = sink.of("control")
    assert not answer.done
    assert "offers now (reduce_lr, rollback)" in answer.text
