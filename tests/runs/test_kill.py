"""A run that is killed at any moment ends, once resumed, with the bits of the run that went through."""

import json
import signal
from pathlib import Path

import pytest

from lab.checkpoint import load_checkpoint
from lab.runs import Run, find_checkpoint, saved_config
from lab.store import RunReader

KILLED = """
import json, os, signal, sys
import lab.asose.live_network as live
from lab.runs import Run, RunConfig

folder, phase, config = sys.argv[1], sys.argv[2], RunConfig.from_json(json.loads(sys.argv[3]))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Killer:
    def on_step(self, epoch, epochs, now, batch, batches, loss):
        if now == phase and batch == 2 and epoch in (1, 3, 13):
            die()
    def on_text(self, text):
        pass

if phase == "mutation":
    class Dying(live.LiveNetwork):
        calls = 0
        def mutate(self, *arguments):
            difference = super().mutate(*arguments)
            Dying.calls += 1
            if Dying.calls == 2:
                die()
            return difference
    import lab.asose.controller
    lab.asose.controller.LiveNetwork = Dying
Run(config, save_dir=folder, name="killed", observer=Killer()).execute()
"""


@pytest.fixture(scope="module")
def config(make_config):
    """Growth in depth and in width, a rate that falls on plateaus, a loss scale, batches in parts."""
    search = {"total_cycles": 3, "growth": "depth,width", "weight_schedule": "plateau", "rate_patience": 1}
    search["allow_none"] = True  # cells with absent edges overflow fp16's first scale here
    return make_config(search, precision="fp16", grad_accum_steps=2)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The run that went through."""
    return Run(config, save_dir=tmp_path_factory.mktemp("whole"), name="whole").execute()


def test_the_run_has_everything_on_that_could_lose_bits(whole):
    reader = RunReader(Path(whole.run_dir))
    events = reader.events().events
    assert {event.payload["what"] for event in events if event.kind == "growth"} == {"depth", "width"}
    assert any(event.payload.get("title") == "Plateau" for event in events)
    state = load_checkpoint(find_checkpoint(whole.run_dir, "")).state["strategy"]["step"]
    assert state["precision"]["scale"] != 2.0**16, "the loss scale never moved"


@pytest.mark.parametrize(
    "phase", [pytest.param("warmup", marks=pytest.mark.large), "arch_training", "mutation", "weight_retraining"]
)
@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits_after_it_was_resumed(config, run_code, tmp_path, whole, phase):
    status, output = run_code(KILLED, tmp_path, phase, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    reader = RunReader(tmp_path / "killed")
    assert reader.state() == "stale"
    phases = [event.payload["phase"] for event in reader.events(kinds=("phase",)).events]
    # The mutation's own announcement may not have been flushed when the process died.
    assert phases[-1] == phase or phase == "mutation"
    path = find_checkpoint(str(tmp_path / "killed"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path).execute()
    assert resumed.digest == whole.digest
    assert resumed.test_loss == whole.test_loss
    assert reader.state() == "finished"
