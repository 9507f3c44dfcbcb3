import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.checkpoint import list_checkpoints
from lab.datasets import DataConfig
from lab.runs import Budget, Run, RunConfig, plan_run
from lab.runs.plan import LEAST_EPOCHS, MOST_EPOCHS, Candidate, choose_width
from lab.state import rng_state, state_digest
from lab.store import RunReader


def candidate(channels, epochs):
    return Candidate(channels=channels, operations=1.0, seconds=None, epochs=epochs)


@pytest.fixture
def fixed():
    return RunConfig.from_fields(
        recipe="fixed", data=DataConfig(train_limit=300), batch_size=16, threads=1, device="cpu"
    )


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [((80, 40, 20, 19.9), 8), ((80, 21, 19, 5), 4), ((9, 5, 2, 1), 2), ((900, 800, 700, 600), 16)],
)
def test_the_widest_network_with_enough_epochs_is_chosen(epochs, expected):
    pairs = list(zip((2, 4, 8, 16), epochs, strict=True))
    assert choose_width([candidate(*pair) for pair in pairs]).channels == expected
    assert choose_width([candidate(*pair) for pair in reversed(pairs)]).channels == expected


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0.01, 500)), min_size=1))
def test_a_choice_has_enough_epochs_or_the_most(pairs):
    chosen = choose_width([candidate(*pair) for pair in pairs])
    enough = [pair for pair in pairs if pair[1] >= LEAST_EPOCHS]
    assert chosen.channels == max(width for width, _ in enough) if enough else chosen.epochs == max(e for _, e in pairs)


def test_a_plan_spends_the_budget_and_no_more(fixed):
    plan = plan_run(fixed, Budget(operations=3e9)).plan
    (chosen,) = [each for each in plan.candidates if each.channels == plan.channels]
    assert chosen.epochs >= LEAST_EPOCHS
    assert plan.epochs == int(3e9 // chosen.operations)
    # 3 x forward x images: of a 3x3 convolution of C channels on HxW pixels 2 C C 9 H W operations.
    assert chosen.operations > 3 * 2 * plan.channels**2 * 9 * 64 * plan.samples
    wider = [each for each in plan.candidates if each.channels > plan.channels]
    assert wider
    assert all(each.epochs < LEAST_EPOCHS for each in wider)


def test_a_plan_is_a_function_of_settings_and_operations(fixed):
    assert plan_run(fixed, Budget(operations=3e9)) == plan_run(fixed, Budget(operations=3e9))


def test_planning_leaves_the_random_streams_and_is_told_apart_by_nothing(fixed):
    torch.manual_seed(3)
    before = state_digest(rng_state())
    plan_run(fixed, Budget(operations=1e9))
    assert state_digest(rng_state()) == before


def test_seconds_become_operations_once(fixed):
    planned = plan_run(fixed, Budget(seconds=2.0), widths=(4,))
    (only,) = planned.plan.candidates
    assert planned.plan.seconds == 2.0
    assert planned.plan.operations == pytest.approx(only.operations * 2.0 / only.seconds)
    assert planned.config.budget == planned.plan.operations


def test_a_budget_beyond_all_use_is_not_spent(fixed):
    plan = plan_run(fixed, Budget(operations=1e15), widths=(2,)).plan
    assert plan.epochs == MOST_EPOCHS
    assert any(f"{MOST_EPOCHS} epochs: no run is longer" in reason for reason in plan.reasons)


def test_each_choice_has_its_reason_and_the_report_prints_it(fixed):
    plan = plan_run(fixed, Budget(operations=3e9)).plan
    text = str(plan)
    assert f"{plan.channels} channels: the largest width that gets at least {LEAST_EPOCHS} epochs" in text
    assert f"{plan.epochs} epochs: what the budget pays for" in text
    assert plan.to_dict()["candidates"][0]["channels"] == 2
    assert f"<td>{plan.channels} *</td>" in plan._repr_html_()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "got 0 of the two"),
        ({"operations": 1.0, "seconds": 1.0}, "got 2 of the two"),
        ({"seconds": 0.0}, "budget > 0"),
    ],
)
def test_a_budget_is_of_one_kind_and_not_empty(fields, message):
    with pytest.raises(ConfigError, match=message):
        Budget(**fields)


def test_a_planned_search_begins_with_its_prior_and_stores_its_plan(tmp_path):
    config = RunConfig.from_fields(
        data=DataConfig(train_limit=300), batch_size=16, threads=1, device="cpu", prior_evaluations=30
    )
    planned = plan_run(config, Budget(operations=1e9), widths=(2, 3))
    run = Run(planned.config, save_dir=tmp_path, name="planned", planned=planned)
    assert run.parts.strategy.architecture.prior == planned.prior
    report = run.execute()
    assert report.epochs <= planned.config.epochs
    (event,) = RunReader(tmp_path / "planned").events(kinds=("plan",)).events
    assert event.payload["channels"] == planned.plan.channels
    assert event.payload["reasons"] == list(planned.plan.reasons)
    assert 0.97 * planned.plan.operations < report.network["compute"] <= planned.plan.operations
    assert list_checkpoints(tmp_path / "planned" / "checkpoints")
    genotype = report.history and run.parts.strategy.network.genotype
    assert genotype.space == planned.prior.space


@pytest.mark.parametrize(("reading_share", "read"), [(0.0, [4]), (1.0, [0, 1, 2, 3, 4]), (0.06, None)])
def test_readings_after_an_epoch_take_their_share_of_the_budget(tmp_path, reading_share, read):
    config = RunConfig.from_fields(
        data=DataConfig(train_limit=300),
        batch_size=16,
        threads=1,
        device="cpu",
        prior="none",
        init_channels=2,
        warmup_epochs=0,
        arch_training_epochs=0,
        weight_training_epochs=5,
        total_cycles=1,
        retraining_epochs=0,
        mutation_frequency=9,
        reading_share=reading_share,
    )
    run = Run(dataclasses.replace(config, budget=1e15), save_dir=tmp_path, name="read")
    report = run.execute()
    found = [row["epoch"] for row in report.history if row.get("decision_loss") is not None]
    compute = run.parts.strategy.compute
    if read is None:
        # A reading costs more than the share of one epoch: it waits for others. The last one is always made.
        assert 1 < len(found) < 5
        assert 4 in found
        assert compute.readings <= (reading_share + 0.1) * compute.spent
    else:
        assert found == read


def test_the_phases_of_a_planned_search_fit_its_epochs():
    config = RunConfig.from_fields(device="cpu", prior_evaluations=30, threads=1, data=DataConfig(train_limit=300))
    planned = plan_run(config, Budget(operations=2e9), widths=(2,))
    assert planned.config.search.planned_epochs == planned.config.total_epochs > planned.plan.epochs
    assert dataclasses.replace(planned.config.search, retraining_epochs=0).planned_epochs <= 0.45 * planned.plan.epochs
