"""A run on a GPU: everything in one place, memory that stays, speed beside the bare loop."""

import time

import pytest
import torch
from torch import nn

from lab.device import tensor_bytes
from lab.doctor import audit
from lab.nn import train_mode
from lab.runs import Run, build
from lab.train import NullSink, Split, TrainingLoop

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def make_loop(config):
    parts = build(config)
    loop = TrainingLoop(
        parts.strategy,
        parts.data,
        parts.monitor,
        NullSink(),
        epochs=config.total_epochs,
        save=lambda reason: None,
        save_every=10**6,
        device=parts.device,
    )
    return parts, loop


def test_every_tensor_is_on_the_gpu_after_each_phase(make_config):
    parts, loop = make_loop(make_config({"device": "cuda", "growth": "depth,width", "total_cycles": 3}))
    while loop.epoch < loop.epochs and parts.strategy.phase != "finished":
        loop.run_epoch()
        for module in (parts.strategy.live.supernet, parts.strategy.network):
            if module is None:
                continue
            assert {t.device.type for t in (*module.parameters(), *module.buffers())} == {"cuda"}
        report = audit(parts.strategy.live.supernet, optimizer=parts.strategy.live.optimizer, device=parts.device)
        assert report.ok, report
        assert parts.strategy.explorer.alpha.device.type == "cuda"


def test_memory_stays_flat_over_fifty_mutations_less_the_present_structure(make_config):
    search = {"device": "cuda", "warmup_epochs": 1, "weight_training_epochs": 1, "total_cycles": 2}
    parts, loop = make_loop(make_config(search))
    while parts.strategy.network is None or parts.strategy.phase != "weight_retraining":
        loop.run_epoch()
    left = []
    controller = parts.strategy.controller
    for _ in range(50):
        controller.set_restore_point(0)
        assert controller.mutate(0, parts.data, requested="control")
        controller.child.set_beta(1.0)
        controller.child.finalize()
        parts.strategy.mutator.accept(controller.read(parts.data), "the test")
        parts.strategy.records.clear()
        torch.cuda.synchronize()
        left.append(torch.cuda.memory_allocated() - tensor_bytes(parts.strategy.state().roots))
    slope = (sum(left[-10:]) - sum(left[10:20])) / 10 / 30
    assert abs(slope) < 1024, f"{slope:.0f} bytes a mutation"


def test_the_loop_is_busy_beside_the_bare_one(make_config, record_property):
    config = make_config({"device": "cuda", "warmup_epochs": 4}, batch_size=64, init_channels=32)
    parts, loop = make_loop(config)
    loop.run_epoch()
    torch.cuda.synchronize()
    began, steps = time.perf_counter(), loop.global_step
    loop.run_epoch()
    torch.cuda.synchronize()
    whole = (loop.global_step - steps) * config.batch_size / (time.perf_counter() - began)
    supernet, optimizer = parts.strategy.live.supernet, parts.strategy.live.optimizer
    train_mode(supernet)
    began, images = time.perf_counter(), 0
    for x, y in parts.data.batches(Split.TRAIN, 5):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(supernet(x, parts.strategy.explorer.sample_uniform()), y).backward()
        optimizer.step()
        images += len(y)
    torch.cuda.synchronize()
    bare = images / (time.perf_counter() - began)
    record_property("images_per_second", whole)
    record_property("bare_images_per_second", bare)
    record_property("utilisation_percent", torch.cuda.utilization() if _has_nvml() else -1)
    assert whole > 0
    assert bare > 0


def _has_nvml():
    try:
        import pynvml  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_in_fewer_bits_ends_well(make_config, tmp_path, precision):
    config = make_config({"device": "cuda"}, precision=precision, workers=1)
    report = Run(config, save_dir=tmp_path, name=precision).execute()
    assert report.state == "finished"
    assert report.network["largest_difference"] <= 1e-5
