from types import SimpleNamespace

import pytest

from lab.asose import ASOSEConfig
from lab.asose.phases import Phases

FIELDS = {"warmup_epochs": 1, "arch_training_epochs": 2, "weight_training_epochs": 3, "total_cycles": 2}


def make_phases(*, pending=(), stopped="", **fields):
    config = ASOSEConfig(**({"prior": "none", "retraining_epochs": 4} | FIELDS | fields))
    mutator, remedies = SimpleNamespace(pending=pending), SimpleNamespace(stopped=stopped)
    return Phases(config, mutator=mutator, remedies=remedies, records=[])


def trained(phases):
    """The phases in which an epoch is trained, with their epochs, as the strategy passes through them."""
    seen = []
    while phases.name != "finished":
        if phases.name == "mutation":
            phases.enter("weight_retraining", phases.config.weight_training_epochs)
            phases.pass_empty()
        else:
            seen.append((phases.name, phases.cycle, phases.left))
            phases.next()
    return seen


def test_cycles_follow_each_other_and_end_with_a_retraining():
    assert trained(make_phases()) == [
        ("warmup", 0, 1),
        ("arch_training", 0, 2),
        ("weight_retraining", 0, 3),
        ("arch_training", 1, 2),
        ("weight_retraining", 1, 3),
        ("weight_retraining", 2, 4),
    ]


def test_a_phase_of_no_epochs_is_passed_over():
    assert trained(make_phases(warmup_epochs=0, weight_training_epochs=0, retraining_epochs=0)) == [
        ("arch_training", 0, 2),
        ("arch_training", 1, 2),
    ]


def test_a_stop_rule_ends_exploration_in_every_later_cycle():
    assert {name for name, _, _ in trained(make_phases(stopped="skips"))} == {"warmup", "weight_retraining"}


def test_a_mutation_under_way_takes_the_place_of_its_cycle():
    phases = make_phases(pending=("edge",))
    phases.enter("arch_training", 2)
    phases.next()
    assert (phases.name, phases.left) == ("weight_retraining", 3)


@pytest.mark.parametrize(("left", "share"), [(3, 0.0), (1, 2 / 3), (0, 1.0), (9, 0.0)])
def test_the_share_of_a_phase_is_what_is_over(left, share):
    phases = make_phases()
    phases.enter("weight_retraining", left)
    assert phases.share == pytest.approx(share)


def test_a_finished_run_goes_on_in_further_cycles():
    phases = make_phases()
    trained(phases)
    assert phases.structure_is_final
    phases.extend()
    assert not phases.structure_is_final
    assert (phases.name, phases.left, phases.cycle) == ("arch_training", 2, 2)


def test_state_goes_on_where_it_was_taken():
    phases, other = make_phases(), make_phases()
    while phases.cycle == 0:
        phases.next() if phases.name != "mutation" else phases.enter("weight_retraining", 3)
    phases.left, phases.fresh = 1, False
    other.load_state_dict(phases.state_dict())
    names = ("name", "left", "fresh", "cycle", "extended")
    assert [getattr(other, name) for name in names] == [getattr(phases, name) for name in names]
    assert other.cycle == 1
    other.announce(7, 2)
    assert (other.records[0].phase, other.records[0].epoch) == (phases.name, 7)
