"""Compilation of a network whose structure changes."""

import pytest
import torch
from torch import nn

from lab.asose import ASOSEConfig, LiveNetwork
from lab.base import ConfigError
from lab.nn import SuperNet
from lab.runs import ASOSEFramework
from lab.runs.build import make_strategy
from lab.space import NB125, NB201, Genotype
from lab.train import Compiler, DeviceConfig


@pytest.fixture
def compiler():
    yield Compiler(torch.device("cpu"), backend="aot_eager")
    torch.compiler.reset()


@pytest.fixture
def live():
    torch.manual_seed(0)
    network = LiveNetwork(SuperNet(NB201, 4, 3, 3, 1), lr=0.1, momentum=0.9, weight_decay=0.0)
    x = torch.randn(8, 1, 8, 8)
    network.extract(Genotype(NB201, ("nor_conv_3x3",) * 6), [x] * 10, x)
    return network


@pytest.fixture
def small():
    """Of three edges a cell."""
    torch.manual_seed(0)
    network = LiveNetwork(SuperNet(NB125, 4, 3, 3, 1), lr=0.1, momentum=0.9, weight_decay=0.0)
    x = torch.randn(8, 1, 8, 8)
    network.extract(Genotype(NB125, ("nor_conv_3x3",) * 3), [x] * 10, x)
    return network


def test_the_compiled_network_is_the_network_and_is_compiled_once(compiler, live):
    records = []
    x = torch.randn(8, 1, 8, 8)
    live.child.eval()
    for _ in range(3):
        out = compiler.of(live.child, records)(x)
    assert torch.allclose(out, live.child(x), atol=1e-6)
    assert (compiler.count, compiler.graphs, len(records)) == (1, 1, 1)
    assert records[0].title == "Compiled"
    assert "structure 1, graph 1 in all" in records[0].text


@pytest.fixture
def two_graphs():
    """torch compiles one function twice at most, in place of 8 times, then goes back to eager mode."""
    with torch._dynamo.config.patch(recompile_limit=2):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("two_graphs")
def test_each_mutation_is_compiled_anew_however_many_there_are(small):
    live = small
    compiler, records = Compiler(torch.device("cpu"), backend="eager"), []
    x = torch.randn(8, 1, 8, 8)
    live.child.train()
    compiler.of(live.child, records)(x).sum().backward()
    for edge in NB125.edges:
        live.child.mutate(live.child.genotype.replace(edge, "skip_connect"), live.supernet)
        compiled = compiler.of(live.child, records)
        live.child.eval()
        assert torch.allclose(compiled(x), live.child(x), atol=1e-5)
        live.child.set_beta(1.0)
        live.child.finalize()
    compiled = compiler.of(live.child, records)
    assert torch.allclose(compiled(x), live.child(x), atol=1e-5)
    assert compiler.count == 5
    assert compiler.graphs == len(records) == 5, "torch went back to eager mode, or compiled more than was told"
    torch.compiler.reset()


def test_training_compiled_gives_the_gradients_of_eager_mode(compiler, live):
    x, y = torch.randn(8, 1, 8, 8), torch.randint(3, (8,))
    gradients = []
    for forward in (live.child, compiler.of(live.child, [])):
        live.child.zero_grad()
        nn.functional.cross_entropy(forward(x), y).backward()
        gradients.append([p.grad.clone() for p in live.child.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_without_a_compiler_the_setting_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"a C\+\+ compiler for --compile, found none of g\+\+, clang\+\+"):
        Compiler(torch.device("cpu"))


def test_compilation_among_ranks_is_refused(make_config):
    class Two:
        size = 2

    with pytest.raises(ConfigError, match="one process with --compile, got 2 ranks"):
        make_strategy(
            make_config(compile=True), num_classes=3, in_channels=1, size=8, device=torch.device("cpu"), group=Two()
        )


def test_only_the_live_network_is_compiled(compiler):
    torch.manual_seed(0)
    config = ASOSEConfig(
        prior="none",
        warmup_epochs=1,
        arch_training_epochs=1,
        weight_training_epochs=1,
        total_cycles=1,
        retraining_epochs=0,
    )
    framework = ASOSEFramework(SuperNet(NB201, 4, 3, 3, 1), config, devices=DeviceConfig(device="cpu"))
    framework.strategy.weight_step.compiler = compiler
    batches = [(torch.randn(8, 1, 8, 8), torch.randint(3, (8,))) for _ in range(2)]
    counts = []
    for _ in range(3):
        framework.train_cycle(batches, batches, decision_loader=batches)
        counts.append(compiler.graphs)
    assert counts[:2] == [0, 0]
    assert counts[2] >= 1
