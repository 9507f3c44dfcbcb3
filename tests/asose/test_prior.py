"""A run that begins with the cell that scores of untrained networks name."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.asose import ASOSEConfig
from lab.asose.prior import find_prior
from lab.base import ConfigError
from lab.checkpoint import load_checkpoint
from lab.explore import GumbelExplorer
from lab.runs import Run, build, find_checkpoint, saved_config
from lab.space import DARTS, NB125, NB201
from lab.state import rng_state, state_digest
from lab.store import RunReader, control
from lab.train import Mutate, Split

PRIOR = {"prior": "scores", "prior_evaluations": 25, "warmup_epochs": 0}


@pytest.fixture
def x_BCHW():
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("space", [NB201, NB125, DARTS], ids=lambda space: space.name)
def test_a_prior_is_a_function_of_seed_and_batch(space, x_BCHW):
    before = state_digest(rng_state())
    one, two, other = (find_prior(space, x_BCHW, num_classes=10, seed=seed, evaluations=4) for seed in (1, 1, 2))
    assert one == two
    assert one != other
    assert state_digest(rng_state()) == before
    assert len(one.cells) >= 4


@given(st.lists(st.lists(st.integers(-9, 9), min_size=5, max_size=5), min_size=6, max_size=6), st.floats(0.5, 8))
def test_alpha_starts_with_the_preferred_primitive_ahead(z_EK, strength):
    explorer = GumbelExplorer(NB201, allow_none=False)
    explorer.start_from(z_EK, strength)
    z, alpha, drawn = torch.tensor(z_EK, dtype=torch.float64), explorer.alpha.detach(), ~explorer.excluded_EK
    best_E = z.masked_fill(~drawn, -torch.inf).amax(-1, keepdim=True)
    assert torch.all(alpha.masked_fill(~drawn, -torch.inf).amax(-1) == 0)
    assert torch.all(alpha[drawn & (z == best_E)] == 0)
    behind = alpha[drawn & (alpha < 0)]
    if len(behind):
        assert float(behind.mean()) == pytest.approx(-strength, rel=1e-3)


@pytest.mark.parametrize(("rows", "message"), [([[0.0] * 5] * 5, "shape"), ([[float("nan")] * 5] * 6, "finite")])
def test_preferences_of_another_shape_are_refused(rows, message):
    with pytest.raises(ConfigError, match=message):
        GumbelExplorer(NB201).start_from(rows, 1.0)


@given(st.integers(1, 400), st.sampled_from(["scores", "none"]))
def test_phases_fit_any_number_of_epochs(epochs, prior):
    fitted = ASOSEConfig(prior=prior).fitted(epochs)
    assert fitted.planned_epochs == max(epochs, fitted.window_epochs)
    assert fitted.window_epochs <= max(0.4 * epochs + 0.5, 2)
    assert fitted.total_cycles == 4 or epochs < 28


def test_the_default_plan_changes_structure_in_its_first_part_alone():
    plan = ASOSEConfig()
    assert plan.window_epochs <= 0.4 * plan.planned_epochs
    assert plan.begins_with_cell


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory):
    """A run of 2 cycles of 2 epochs each, then 3 of retraining: what it told, and the strategy."""
    folder = tmp_path_factory.mktemp("runs")
    run = Run(make_config(PRIOR | {"retraining_epochs": 3}), save_dir=folder, name="run")
    report = run.execute()
    return run, report, RunReader(folder / "run")


def test_the_first_cell_is_the_priors_and_there_from_the_first_step(finished):
    run, report, reader = finished
    extracted = [e for e in reader.events(kinds=("genotype",)).events if e.payload["reason"] == "extracted"]
    assert [event.step for event in extracted] == [0]
    assert extracted[0].payload["genotype"] == run.parts.strategy.architecture.prior.genotype.to_json()
    assert extracted[0].payload["argmax_genotype"] == extracted[0].payload["genotype"]
    phases = [row["phase"] for row in report.history]
    retraining = ["weight_retraining"]
    assert phases == retraining * 2 + ["arch_training"] * 2 + retraining * 2 + retraining * 3


def test_the_last_retraining_offers_no_mutation(finished):
    _, _, reader = finished
    told = [e.payload for e in reader.events(kinds=("phase",)).events if e.payload["phase"] == "weight_retraining"]
    assert ["mutate" in payload["offers"] for payload in told] == [True, True, False]
    assert [payload["epochs"] for payload in told] == [2, 2, 3]


def test_a_resumed_run_takes_its_prior_from_the_checkpoint(finished, monkeypatch, tmp_path):
    run, report, reader = finished
    checkpoints = sorted(reader.run_dir.glob("checkpoints/*epoch*.pt"))
    monkeypatch.setattr("lab.asose.architecture.find_prior", lambda *_, **__: pytest.fail("searched again"))
    path = checkpoints[0] if checkpoints else find_checkpoint(str(reader.run_dir), tmp_path)
    (reader.run_dir / "report.json").rename(tmp_path / "report.json")
    resumed = Run(run.config, save_dir=reader.run_dir.parent, resume=path)
    again = resumed.execute()
    assert resumed.parts.strategy.architecture.prior == run.parts.strategy.architecture.prior
    assert again.digest == report.digest


def test_the_rate_of_alpha_follows_from_the_number_of_its_steps(make_config):
    rates = {}
    for epochs in (6, 12):
        parts = build(make_config({"warmup_epochs": 0, "arch_training_epochs": epochs, "arch_lr": None}))
        assert parts.strategy.begin_epoch(0, 0, parts.data).split == Split.SEARCH
        rates[epochs] = parts.strategy.architecture.rate
    assert rates[6] == pytest.approx(2 * rates[12])


def test_a_run_ends_where_its_budget_is_spent(make_config, tmp_path):
    def run(name, budget):
        config = make_config(PRIOR | {"retraining_epochs": 6}, budget=budget)
        return Run(config, save_dir=tmp_path, name=name).execute()

    whole = run("whole", None)
    budget = 0.8 * whole.network["compute"]
    short = run("short", budget)
    assert short.epochs < whole.epochs
    # To the last step: the run does not wait for the end of an epoch.
    assert 0.97 * budget < short.network["compute"] <= budget
    rates = RunReader(tmp_path / "short").scalars(names=["lr"]).value
    assert 0.01 <= rates[-1] / rates[0] < 0.02
    text = [e.payload["text"] for e in RunReader(tmp_path / "short").events(kinds=("alert",)).events]
    assert any("operations is spent" in each for each in text)


@pytest.mark.usefixtures("prompt_inbox")
def test_a_run_stopped_where_its_budget_cuts_an_epoch_off_ends_with_the_same_bits(make_config, tmp_path, finished):
    _, report, _ = finished
    config = make_config(PRIOR | {"retraining_epochs": 6}, budget=0.83 * report.network["compute"])
    through = Run(config, save_dir=tmp_path, name="through").execute()
    steps = []

    class Stopper:
        def on_step(self, epoch, epochs, phase, batch, batches, loss):
            steps.append((batch, batches))
            if len(steps) == through.steps - 1:
                control.send(tmp_path / "cut", "stop")

        def on_text(self, text):
            pass

    assert Run(config, save_dir=tmp_path, name="cut", observer=Stopper()).execute().state == "stopped"
    batch, batches = steps[-1]
    assert 0 < batch < batches - 1, "the budget must end inside an epoch: the test would show less"
    path = find_checkpoint(str(tmp_path / "cut"), tmp_path)
    assert load_checkpoint(path).step == through.steps - 1
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert (resumed.steps, resumed.digest) == (through.steps, through.digest)


def test_mutate_is_offered_before_the_last_retraining(finished):
    run, _, _ = finished
    assert Mutate not in run.parts.strategy.offers
