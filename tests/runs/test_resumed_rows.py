"""What a run has told its store is told once, whichever checkpoint it is resumed from."""

import pytest

from lab.checkpoint import list_checkpoints
from lab.runs import Run, saved_config
from lab.store import RunReader

PER_ATTEMPT = ("memory", "checkpoint", "control")
"""Events about the process and its files, which differ from attempt to attempt."""


def rows(folder):
    """Every scalar but the memory's, and every event of the search."""
    reader = RunReader(folder)
    found = reader.scalars()
    scalars = [
        (step, name, value)
        for step, name, value in zip(found.step, found.name, found.value, strict=True)
        if not name.startswith("memory/")
    ]
    events = [(e.step, e.kind, e.payload) for e in reader.events().events if e.kind not in PER_ATTEMPT]
    return sorted(scalars), events


@pytest.mark.parametrize("reason", ["epoch", "best", "pre_mutation"])
def test_a_run_resumed_from_any_checkpoint_has_the_rows_of_one_that_ran_through(make_config, tmp_path, reason):
    config = make_config(search={"checkpoint_frequency": 2, "max_checkpoints": 1})
    through = Run(config, save_dir=tmp_path, name="a").execute()
    scalars, events = rows(through.run_dir)
    (tmp_path / "a" / "report.json").unlink()  # as of a run that was cut off
    path = next(f.path for f in list_checkpoints(through.run_dir + "/checkpoints") if f.reason == reason)
    Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    again_scalars, again_events = rows(through.run_dir)
    assert RunReader(through.run_dir).summary().attempt == 2
    assert again_scalars == scalars
    assert again_events == events
