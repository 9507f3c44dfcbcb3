"""A trial that is a run: real trainings on digits, each in a folder of its own that any reader opens."""

import pytest

from lab.runs import RunConfig, RunReport
from lab.store import RunReader, list_runs
from lab.tune import StudyConfig, WorkConfig, parse_space, run_study
from lab.tune.config import OBJECTIVES
from lab.tune.dimension import field_types


@pytest.mark.slow
def test_trials_are_runs_with_every_objective_and_equal_to_their_own_reports(tmp_path):
    base = RunConfig.from_fields(
        recipe="fixed", space="nb125", train_limit=120, init_channels=2, layers=1, batch_size=16, epochs=2, device="cpu"
    )
    study = StudyConfig(
        name="digits",
        dimensions=parse_space(["weight_lr=1e-2:1e-1:log", "init_channels=2,4"], field_types()),
        base=base.to_json(),
        objectives=tuple(OBJECTIVES),
        directions=tuple(OBJECTIVES.values()),
        sampler="random",
        epochs=2,
    )
    report = run_study(study, WorkConfig(outdir=tmp_path, n_trials=3, parallel=2))
    assert report.counts()["complete"] == 3
    runs = list_runs(tmp_path / "digits" / "trials")
    assert [(run.state, run.attempt) for run in runs] == [("finished", 1)] * 3
    for trial in report.trials:
        folder = tmp_path / "digits" / trial["run"]
        ended, config = RunReport.read(folder), RunReader(folder).config()
        assert trial["reports"] == 2
        assert trial["values"]["accuracy"] == ended.decision_accuracy
        assert trial["values"]["parameters"] == ended.network["parameters"]
        assert trial["values"]["flops"] > 0 < trial["values"]["latency"]
        assert config["optimizer"]["weight_lr"] == trial["params"]["weight_lr"]
        assert config["init_channels"] == trial["params"]["init_channels"]
    flops = {trial["params"]["init_channels"]: trial["values"]["flops"] for trial in report.trials}
    assert len(flops) == 1 or flops[4] > flops[2]
