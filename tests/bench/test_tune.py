"""The bench of studies counts what Optuna reads, and its controls show the faults that it looks for."""

from importlib.util import find_spec

import pytest

from lab.base import ConfigError, StudyError
from lab.bench import tune
from lab.bench.settings import TuneBench

pytestmark = pytest.mark.skipif(not find_spec("optuna"), reason="needs the extra tune")


def attempt(number, params, state="COMPLETE", **attrs):
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    trial = create_trial(
        state=TrialState[state],
        values=[0.0] if state == "COMPLETE" else None,
        params=params,
        distributions={name: FloatDistribution(0.0, 9.0) for name in params},
        user_attrs=attrs,
    )
    trial.number = number
    return trial


def test_lost_doubled_and_changed_trials_are_counted():
    from lab.bench.tune_study import count

    good = [attempt(0, {"x": 1.0}, "FAIL"), attempt(1, {"x": 2.0}), attempt(2, {"x": 1.0}, root=0)]
    assert count(good, 2) == {"lost": 0, "twice": 0, "unequal": 0, "unbegun": 0, "retries": 1}
    assert count(good, 3)["lost"] == 1
    assert count(good[:2], 2)["lost"] == 1
    assert count([*good, attempt(3, {"x": 1.0}, root=0)], 2)["twice"] == 1
    assert count([*good[:2], attempt(2, {"x": 5.0}, root=0)], 2)["unequal"] == 1
    # One that died before it had its parameters is no retry with other ones.
    partial = [attempt(0, {}, "FAIL"), attempt(1, {"x": 1.0}, root=0)]
    assert count(partial, 1) == {"lost": 0, "twice": 0, "unequal": 0, "unbegun": 1, "retries": 1}


def test_an_overhead_has_two_sides_and_killed_children_are_counted(monkeypatch):
    monkeypatch.setattr(tune, "server_programs", lambda: None)
    config = TuneBench(parts=("overhead", "kills"), trials=12, seconds=0.15, length=0.02, rounds=1, seeds=1, kills=1)
    result = tune.run(config)
    assert list(result["overhead"]) == list(result["kills"]) == ["journal", "sqlite"]
    for found in result["overhead"].values():
        assert found["ratio"] == found["lab"] / found["bare"]
        assert min(found[name] for name in ("lab", "bare", "optuna", "empty", "empty_bare")) > 0
    for found in result["kills"].values():
        assert (found["kills"], found["lost"], found["twice"], found["unequal"]) == (1, 0, 0, 0)
    assert "over bare Optuna, sqlite" in str(tune.summary(result))
    assert tune.result_name(config) == "tune-overhead-kills"
    with pytest.raises(ConfigError, match="parts"):
        TuneBench(parts=("speed",))


def test_a_study_that_ends_before_a_child_is_killed_is_told(monkeypatch):
    from lab.bench import tune_kills

    none = {"kills": 0, "lost": 0, "twice": 0, "unequal": 0, "retries": 0, "noticed": []}
    monkeypatch.setattr(tune_kills, "_killed", lambda *given: none)
    with pytest.raises(StudyError, match="0 kills, none of them during a trial"):
        tune_kills.kill_children(TuneBench(parts=("kills",), seeds=2), "")


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.parametrize("trials", [6, 40])
def test_every_tensor_of_every_trial_is_the_files_own(trials):
    pytest.importorskip("transformers")
    from lab.bench import tune_loads

    found = tune_loads.loads(TuneBench(trials=trials))
    assert (found["complete"], found["attempts"], found["equal"], found["meta"]) == (trials, trials, trials, 0)
    assert min(found["models"].values()) > 0
    sizes = found["tensors_of_a_model"]
    assert found["tensors"] == sum(found["models"][name] * sizes[name] for name in sizes)
    assert found["threads_guarded"] == {"loads": trials, "threads": 4, "good": trials, "bad": 0, "raised": 0}
    assert found["threads_unguarded"]["good"] < trials
