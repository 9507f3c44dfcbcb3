"""The doctor where there is a CUDA device: real kernels, backward on the engine's own threads."""

import inspect

import pytest
import torch
from torch import nn

from lab.doctor import audit, examine, explain_backward, simulate

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def reproducible_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _line(text: str) -> int:
    source, start = inspect.getsourcelines(inspect.getmodule(_line))
    (found,) = [number for number, line in enumerate(source, start or 1) if line.rstrip().endswith(f"# {text}")]
    return found


def test_a_counted_and_an_uncounted_write_are_found_on_the_gpu() -> None:
    def counted() -> None:
        x = torch.ones(3, requires_grad=True, device="cuda")
        y = x.exp()
        y.add_(1)  # counted
        y.sum().backward()

    def uncounted() -> None:
        x = torch.ones(3, requires_grad=True, device="cuda")
        y = x.exp()
        y.data.mul_(2)  # uncounted
        y.sum().backward()

    for run, mark in ((counted, "counted"), (uncounted, "uncounted")):
        (finding,) = explain_backward(run).findings
        assert finding.culprit is not None
        assert finding.culprit.line == _line(mark)
        assert finding.tensor == "variable y"
        assert finding.backward is not None
        assert finding.backward.text == "y.sum().backward()"
    assert explain_backward(uncounted).findings[0].category == "write through .data"


@pytest.mark.parametrize("fused", [False, True])
def test_nothing_is_found_in_ordinary_training_on_the_gpu(fused: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 2))
    model.insert(3, nn.AdaptiveAvgPool2d(1))
    model.cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cuda")

    def train() -> None:
        for _ in range(3):
            optimizer.zero_grad()
            x = torch.randn(4, 3, 8, 8, device="cuda")
            with torch.autocast("cuda", torch.float16):
                loss = model(x).float().square().mean()
                second = model(x).float().mean()
            scaler.scale(loss + second).backward()
            scaler.step(optimizer)
            scaler.update()
            assert torch.isfinite(loss)

    report = explain_backward(train, model=model)
    assert report.ok, str(report)
    assert audit(model, optimizer).ok


def test_a_simulation_takes_no_memory_of_the_gpu() -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.LSTM(512, 512))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert simulate(model, torch.randn(4, 512)).ok
    assert simulate(model, torch.randn(4, 512), follow_data=True).ok
    assert torch.cuda.max_memory_allocated() == before


def test_a_model_on_the_gpu_is_examined_there() -> None:
    model = nn.Linear(4, 4).cuda()
    report = examine(model, torch.ones(2, 4, device="cuda"), placements=["cuda:0"])
    assert report.ok, str(report)
    stray = nn.Linear(4, 4).cuda()
    stray.shift = torch.ones(4)
    assert [finding.kind for finding in audit(stray).findings] == ["plain attribute on another device"]
