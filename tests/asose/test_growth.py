import copy
import json
import shutil
import signal

import pytest
import torch

from lab.asose import ASOSEConfig, LiveNetwork
from lab.asose.growth import Growth
from lab.base import CheckpointError, ConfigError, MorphError
from lab.nn import EvolvableNetwork, SuperNet
from lab.runs import Run, find_checkpoint, saved_config
from lab.space import NB201, Genotype
from lab.store import RunReader, translate_config

TEXT = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
# Dies inside the second growth, or inside the transition of a cell that came with it.
KILLED = """
import json, os, signal, sys
from lab.runs import Run, RunConfig
from lab.asose.growth import Growth
grow, advance = Growth.grow, Growth.advance
def dying_grow(self, *arguments, **named):
    event = grow(self, *arguments, **named)
    if sys.argv[3] == "growth" and len(self.steps) >= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return event
def dying_advance(self, child):
    if sys.argv[3] == "transition" and self.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return advance(self, child)
Growth.grow, Growth.advance = dying_grow, dying_advance
Run(RunConfig.from_json(json.loads(sys.argv[2])), save_dir=sys.argv[1], name="killed").execute()
"""


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(search={"total_cycles": 4, "growth": "depth,width", "growth_factor": 1.5})


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("growth")
    return Run(config, save_dir=folder, name="whole").execute(), folder / "whole"


@pytest.fixture
def live():
    return network(seed=0)


def network(seed, channels=4):
    torch.manual_seed(seed)
    made = LiveNetwork(SuperNet(NB201, channels, 3, 5, 1), lr=0.1, momentum=0.9, weight_decay=1e-4)
    made.child = EvolvableNetwork.from_supernet(made.supernet, Genotype.from_arch_str(TEXT))
    return made


def growth_of(live, kinds):
    return Growth(live.supernet, kinds=kinds, factor=1.5, seed=3)


def grow(growth, live, x, steps=2):
    return growth.grow(live.child, live.optimizer, probe_BCHW=x, statistics=[x] * 10, steps=steps)


@pytest.fixture
def x():
    return torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_network_grows_at_each_later_mutation_phase_and_its_output_stays(whole):
    report, folder = whole
    events = [event.payload for event in RunReader(folder).events(kinds=("growth",)).events]
    assert [(event["what"], event["where"]) for event in events] == [
        ("depth", "backbone.cells.1"),
        ("width", "backbone.stem"),
        ("depth", "backbone.cells.3"),
    ]
    assert all(event["difference"] <= 1e-5 for event in events)
    sizes = [events[0]["parameters_before"], *(event["parameters_after"] for event in events)]
    assert sizes == sorted(set(sizes))
    assert report.state == "finished"


@pytest.mark.parametrize("moment", ["growth", pytest.param("transition", marks=pytest.mark.large)])
@pytest.mark.slow
def test_a_run_that_was_killed_while_it_grew_ends_with_the_same_bits(config, whole, run_code, tmp_path, moment):
    status, output = run_code(KILLED, tmp_path, json.dumps(config.to_json()), moment)
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "killed"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole[0].digest
    assert resumed.test_loss == whole[0].test_loss


def test_every_stage_widens_and_supernet_and_child_stay_one(live, x):
    growth = growth_of(live, ("width",))
    before = live.child.eval()(x)
    for _ in range(4):
        (event,) = grow(growth, live, x)
        assert event.parameters_after > event.parameters_before
        assert event.difference <= 1e-5
    assert torch.allclose(live.child(x), before, atol=1e-5)
    assert [live.supernet.backbone.width(stage) for stage in range(3)] == [9, 12, 24]
    assert_one(live)


def test_every_stage_deepens_behind_a_hand_over(live, x):
    growth = growth_of(live, ("depth",))
    for _ in range(3):
        before = live.child.eval()(x)
        assert [event.difference for event in grow(growth, live, x)] == [0.0]
        assert torch.equal(live.child(x), before)
        assert grow(growth, live, x) == (), "a transition is under way"
        assert [growth.advance(live.child) for _ in range(3)] == [0.5, 1.0, None]
        assert not torch.equal(live.child(x), before)
    after = live.child(x)
    growth.finalize(live.child)
    assert torch.equal(live.child(x), after)
    assert live.supernet.backbone.stage_lengths == live.child.backbone.stage_lengths == (2, 2, 2)
    assert all(cell.beta is None for cell in (*live.supernet.backbone.cells, *live.child.backbone.cells))
    assert_one(live)


def assert_one(live):
    shared = {id(parameter) for parameter in live.supernet.parameters()}
    assert all(id(parameter) in shared for parameter in live.child.parameters())
    held = [id(parameter) for group in live.optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == shared


def test_a_fresh_cell_learns_and_the_global_stream_is_not_touched(live, x):
    stream = torch.get_rng_state()
    growth = growth_of(live, ("depth",))
    grow(growth, live, x)
    assert torch.equal(torch.get_rng_state(), stream)
    growth.advance(live.child)
    live.child.train()(x).square().mean().backward()
    gradients = [parameter.grad for parameter in live.child.backbone.cell(1).parameters()]
    assert gradients
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.slow
def test_a_fresh_supernet_gets_the_structure_back(live, x):
    growth = growth_of(live, ("depth", "width"))
    for _ in range(4):
        grow(growth, live, x)
        growth.advance(live.child), growth.advance(live.child)
    fresh = network(seed=5)
    again = growth_of(fresh, ("depth", "width"))
    again.replay(growth.steps, fresh.optimizer)
    fresh.load_state_dict(live.state_dict())
    assert torch.equal(fresh.child.eval()(x), live.child.eval()(x))
    assert again.steps == growth.steps
    assert {step["kind"] for step in growth.steps} == {"depth", "width", "inner", "finalize"}


def test_a_mutation_of_a_grown_network_moves_nothing_and_can_be_taken_back(live, x):
    growth = growth_of(live, ("width", "depth"))
    grow(growth, live, x), grow(growth, live, x)
    kept, before = copy.deepcopy(live.state_dict()), live.child.eval()(x)
    target = Genotype.from_arch_str(TEXT.replace("none~0", "nor_conv_3x3~0"))
    assert live.mutate(target, [x] * 10, x) <= 1e-5
    live.load_state_dict(kept)
    assert torch.equal(live.child.eval()(x), before)


def test_steps_of_another_network_are_refused(live, x):
    growth = growth_of(live, ("width",))
    grow(growth, live, x)
    other = network(seed=0, channels=6)
    with pytest.raises(MorphError, match="plan was made for"):
        growth_of(other, ("width",)).replay(growth.steps, other.optimizer)


def test_a_grown_checkpoint_is_not_one_of_the_fixed_network(whole, make_config, tmp_path):
    shutil.copytree(whole[1], tmp_path / "copy", ignore=shutil.ignore_patterns("report.json"))
    path = find_checkpoint(str(tmp_path / "copy"), tmp_path)
    with pytest.raises(CheckpointError, match="fixed network"):
        Run(make_config(recipe="fixed"), save_dir=tmp_path, resume=path).execute()


@pytest.mark.parametrize(("field", "value"), [("growth", "sideways"), ("growth_factor", 1.0), ("growth_factor", 9.0)])
def test_growth_that_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        ASOSEConfig(**{field: value})


def test_a_network_whose_stages_all_grew_is_as_one_that_was_made_so_wide(live, x):
    growth = Growth(live.supernet, kinds=("width",), factor=2.0, seed=3)
    for _ in range(3):
        grow(growth, live, x)
    made = network(seed=1, channels=8)
    shapes = [[p.shape for p in each.child.parameters()] for each in (live, made)]
    assert shapes[0] == shapes[1]
    assert growth.grown == ["width"] * 3
    assert 0.0 <= growth.largest_difference <= 1e-5


@pytest.mark.large
def test_copies_are_what_runs_had_before_drawn_channels(live, x):
    growth = Growth(live.supernet, kinds=("width",), factor=2.0, seed=3, units="copies")
    for _ in range(3):
        grow(growth, live, x)
    assert [step["kind"] for step in growth.steps] == ["width"] * 3
    assert live.supernet.backbone.reductions[0].conv1.out_channels == 8, "the inner layer stays"
    search = translate_config({"recipe": "aso-se", "search": {"growth": "width"}})["search"]
    assert ASOSEConfig(**search).growth_units == "copies"
