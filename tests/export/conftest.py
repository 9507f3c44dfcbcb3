import subprocess
import sys
import sysconfig

import pytest
import torch

from lab.runs import Run, RunConfig
from lab.train import TrainingLoop

# -I and -S: no folder of the project, no .pth file; then the installed packages alone, where lab is not.
ALONE = """
import sys
sys.path.append(sys.argv[1])
try:
    import lab
except ModuleNotFoundError:
    pass
else:
    sys.exit("lab can be imported here, so nothing would be proven")
import torch
x = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
{body}
assert "lab" not in sys.modules
torch.save(torch.as_tensor(y), sys.argv[3])
"""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def alone(tmp_path):
    """Run lines that make `y` from `x` in another folder, in a Python that does not find lab."""

    def run(body, x):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        torch.save(x, elsewhere / "x.pt")
        script = ALONE.format(body="\n".join(f"    {line}" for line in body))
        command = [sys.executable, "-I", "-S", "-c", script, sysconfig.get_path("purelib"), "x.pt", "y.pt"]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return torch.load(elsewhere / "y.pt", weights_only=True)

    return run


@pytest.fixture(scope="session")
def grown(tmp_path_factory):
    """A run whose network grew in depth and width; it asked for a checkpoint inside its last transition."""
    config = RunConfig.from_fields(
        prior="none",
        retraining_epochs=0,
        mutation_test="before",
        warmup_epochs=1,
        arch_training_epochs=1,
        weight_training_epochs=2,
        total_cycles=3,
        weight_lr=0.05,
        arch_lr=0.05,
        growth="depth,width",
        growth_factor=1.5,
        reject_z=1e9,  # a mutation that is rolled back would leave the next growth for later
        device="cpu",
        checkpoint_frequency=1,
        max_checkpoints=99,
        train_limit=300,
        init_channels=4,
        layers=2,
        batch_size=32,
        threads=1,
    )
    run = Run(config, save_dir=tmp_path_factory.mktemp("export"), name="grown")
    step = TrainingLoop._step

    def watched(self, *arguments):
        done = step(self, *arguments)
        if self.epoch == self.epochs - 2 and self.batch == 1:
            self.save("control")
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "_step", watched)
        run.execute()
    return run
