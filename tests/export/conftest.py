import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from lab.export import export_run, program
from lab.runs import Run, RunConfig
from lab.train import TrainingLoop

HAS_ONNX = all(importlib.util.find_spec(name) for name in program.ONNX_PACKAGES)
# -I and -S: no folder of the project, no .pth file; then the installed packages alone, where lab is not.
ALONE = """
import sys
sys.path[:0] = [sys.argv[1]]
sys.path.append(sys.argv[2])
try:
    import lab
except ModuleNotFoundError:
    pass
else:
    sys.exit("lab can be imported here, so nothing would be proven")
import torch
x = torch.load("x.pt", weights_only=True)
found = {{}}
with torch.no_grad():
{body}
assert "lab" not in sys.modules
torch.save(found, "y.pt")
"""
# What computes the answers to one image and to three at once.
LINES = {
    "pt2": ["network = torch.export.load(f'{sys.argv[1]}/a.pt2').module()", "run = network"],
    "onnx": [
        "import onnxruntime",
        "session = onnxruntime.InferenceSession(f'{sys.argv[1]}/a.onnx', providers=['CPUExecutionProvider'])",
        "run = lambda part: torch.as_tensor(session.run(None, {'x': part.numpy()})[0])",
    ],
    "state": [
        "from net import Network",
        "network = Network()",
        "network.load_state_dict(torch.load(f'{sys.argv[1]}/net.pt', weights_only=True))",
        "run = network.eval()",
    ],
}
FILES = {"pt2": "a.pt2", "onnx": "a.onnx", "state": "net.pt"}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def exported(grown, tmp_path_factory):
    """By format: the report of an export of `grown`; its file lies alone with its companions in a folder."""
    reports = {}
    for to, name in FILES.items():
        if to != "onnx" or HAS_ONNX:
            reports[to] = export_run(grown.run_dir, to, out=tmp_path_factory.mktemp(to) / name)
    return reports


@pytest.fixture(scope="session")
def alone(exported, tmp_path_factory):
    """Images, and by format what the exported file gives for them in a Python that does not find lab."""
    elsewhere, files = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("files")
    for report in exported.values():
        for path in Path(report.files[0]).parent.iterdir():
            shutil.copy(path, files)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    torch.save(x, elsewhere / "x.pt")
    lines = [line for to in exported for line in [*LINES[to], f"found[{to!r}] = torch.cat([run(x[:1]), run(x[1:])])"]]
    script = ALONE.format(body="\n".join(f"    {line}" for line in lines))
    command = [sys.executable, "-I", "-S", "-c", script, str(files), sysconfig.get_path("purelib")]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return x, torch.load(elsewhere / "y.pt", weights_only=True)


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
