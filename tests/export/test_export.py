"""What is written loads where lab cannot be imported, and computes what the network does."""

import importlib.util
import json
from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

from lab.base import CheckpointError, ConfigError, TrainingError
from lab.checkpoint import list_checkpoints
from lab.cli import main
from lab.export import export_onnx, export_program, export_run, onnx_outputs, plain_module, program
from lab.nn import EvolvableNetwork, eval_mode
from lab.probe import relative_difference
from lab.space import DARTS, NB201, Genotype, sample

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in program.ONNX_PACKAGES),
    reason="the extra export (onnx, onnxscript, onnxruntime) is not installed",
)
NOTHING = "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def images(count, *shape):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))


def expected(run, x):
    network = run.parts.strategy.network
    with torch.no_grad(), eval_mode(network):
        return network(x)


def network_of(genotype, in_channels=1):
    torch.manual_seed(0)
    network = EvolvableNetwork(genotype, channels=3, layers=4, num_classes=5, in_channels=in_channels)
    with torch.no_grad():
        for _ in range(3):
            network(images(8, in_channels, 9, 9))
    return network.eval()


def test_a_pt2_file_loads_without_lab_and_computes_what_the_network_does(grown, exported, alone):
    (x, found), report = alone, exported["pt2"]
    for y, batch in zip(found["pt2"].split((1, 3)), x.split((1, 3)), strict=True):
        assert relative_difference(y, expected(grown, batch)) <= 1e-6
    assert report.max_difference <= 1e-6
    path = report.files[0]
    assert report.files == (path, f"{path}.json")


@needs_onnx
def test_an_onnx_file_runs_without_lab_and_computes_what_the_network_does(grown, exported, alone):
    (x, found), path = alone, Path(exported["onnx"].files[0])
    assert sorted(each.name for each in path.parent.iterdir()) == ["a.onnx", "a.onnx.json"]
    for y, batch in zip(found["onnx"].split((1, 3)), x.split((1, 3)), strict=True):
        assert relative_difference(y, expected(grown, batch)) <= 1e-4


def test_state_comes_with_the_source_of_a_module_that_needs_torch_alone(grown, exported, alone):
    (x, found), path = alone, Path(exported["state"].files[0])
    backbone = grown.parts.strategy.network.backbone
    assert sum(backbone.stage_lengths) > 2, "the network grew in depth"
    assert backbone.width(0) > 4, "and in width"
    assert relative_difference(found["state"], expected(grown, x)) <= 1e-6
    source = path.with_name("net.py").read_text()
    assert f"Cell({backbone.width(0)}), Cell({backbone.width(0)})" in source
    assert "import lab" not in source
    assert "from lab" not in source
    assert exported["state"].files[:2] == (str(path), str(path.with_name("net.py")))


def test_the_plain_module_computes_what_the_network_does_for_every_cell():
    genotypes = [Genotype.from_arch_str(NOTHING), Genotype(NB201, ("none",) * 6)]
    genotypes += [sample(NB201, Random(seed)) for seed in range(25)]
    for genotype in genotypes:
        network, x = network_of(genotype), images(3, 1, 9, 9)
        plain = plain_module(network)
        names: dict = {}
        exec("import torch\nfrom torch import Tensor, nn\n" + plain.classes, names)
        module = names["Network"]()
        module.load_state_dict(plain.state)
        with torch.no_grad():
            assert relative_difference(module.eval()(x), network(x)) <= 1e-6, genotype.arch_str
        occurs = {"ConvNorm": "nor_conv", "average_pool": "avg_pool"}
        for name, primitive in occurs.items():
            assert (name in plain.classes) == (primitive in genotype.arch_str), "only what occurs is written"


def darts():
    torch.manual_seed(0)
    genotype = sample(DARTS, Random(1))
    return EvolvableNetwork(genotype, channels=4, layers=3, num_classes=5, in_channels=3).eval()


def test_the_source_of_another_network_is_refused():
    with pytest.raises(ConfigError, match=r"space nb201.*Linear.*pt2 or onnx"):
        plain_module(nn.Linear(3, 3))
    with pytest.raises(ConfigError, match=r"space nb201.*one of darts.*pt2 or onnx"):
        plain_module(darts())


def test_a_network_of_the_darts_space_comes_through_pt2(tmp_path):
    network, x = darts(), images(3, 3, 12, 12)
    export_program(network, x[:2], tmp_path / "a.pt2")
    with torch.no_grad():
        assert relative_difference(torch.export.load(tmp_path / "a.pt2").module()(x), network(x)) <= 1e-6


@needs_onnx
@pytest.mark.large
def test_a_network_of_the_darts_space_comes_through_onnx(tmp_path):
    network, x = darts(), images(3, 3, 12, 12)
    export_onnx(network, x[:2], tmp_path / "a.onnx")
    with torch.no_grad():
        assert relative_difference(onnx_outputs(tmp_path / "a.onnx", x), network(x)) <= 1e-4


def test_maps_of_odd_size_come_through_both_programs(tmp_path):
    network, x = network_of(Genotype.from_arch_str(NOTHING), in_channels=3), images(5, 3, 9, 9)
    export_program(network, x[:2], tmp_path / "a.pt2")
    with torch.no_grad():
        assert relative_difference(torch.export.load(tmp_path / "a.pt2").module()(x), network(x)) <= 1e-6


@needs_onnx
def test_maps_of_odd_size_come_through_onnx(tmp_path):
    network, x = network_of(Genotype.from_arch_str(NOTHING), in_channels=3), images(5, 3, 9, 9)
    export_onnx(network, x[:2], tmp_path / "a.onnx")
    with torch.no_grad():
        assert relative_difference(onnx_outputs(tmp_path / "a.onnx", x), network(x)) <= 1e-4


def test_without_the_packages_the_error_names_the_extra(grown, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "ONNX_PACKAGES", ("onnx_that_is_not_there",))
    with pytest.raises(ConfigError, match=r"no onnx_that_is_not_there.*asose-lab\[export\]"):
        export_run(grown.run_dir, "onnx", out=tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_under_hand_over_is_refused_and_nothing_is_written(grown, tmp_path):
    (asked,) = [f for f in list_checkpoints(grown.run_dir / "checkpoints") if f.reason == "control"]
    for to in ("pt2", "state"):
        with pytest.raises(CheckpointError, match=r"in transition.* -> .* at beta 0\.\d+.*Choose another checkpoint"):
            export_run(grown.run_dir, to, checkpoint=asked.path.name, out=tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_before_the_first_cell_was_taken_there_is_nothing_to_export(grown, tmp_path):
    first = list_checkpoints(grown.run_dir / "checkpoints")[0]
    with pytest.raises(CheckpointError, match="before the search took its first cell"):
        export_run(grown.run_dir, "pt2", checkpoint=str(first.path), out=tmp_path / "a.pt2")


def test_a_file_that_computes_something_else_is_an_error(grown, tmp_path, monkeypatch):
    def wrong(network, example, path):
        network.backbone.classifier.bias.data += 1e-3
        export_program(network, example, path)

    monkeypatch.setattr("lab.export.run.export_program", wrong)
    with pytest.raises(TrainingError, match="relative difference of"):
        export_run(grown.run_dir, "pt2", out=tmp_path / "a.pt2")


def test_the_description_says_what_goes_in_and_what_comes_out(grown, tmp_path):
    export_run(grown.run_dir, "state", out=tmp_path / "net.pt")
    payload = json.loads((tmp_path / "net.pt.json").read_text())
    streams = grown.parts.streams
    assert payload["input"]["shape"] == [1, 8, 8]
    assert payload["input"]["mean"] == list(streams.normalisation.mean)
    assert payload["input"]["deviation"] == list(streams.normalisation.deviation)
    assert payload["input"]["classes"] == list(streams.bundle.classes)
    assert payload["num_classes"] == 10
    assert payload["parameters"] == sum(p.numel() for p in grown.parts.strategy.network.parameters())
    assert payload["genotype"] == grown.parts.strategy.network.genotype.to_json()


def test_the_command_takes_a_run_by_name_or_folder(grown, tmp_path, capsys):
    save_dir = str(grown.run_dir.parent)
    assert main(["export", "grown", "--to", "state", "--save-dir", save_dir, "--checkpoint", "last", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["files"][0] == str(grown.run_dir / "export" / "network.pt")
    flags = [str(grown.run_dir), "--to", "pt2", "--checkpoint", "best", "--out", str(tmp_path / "b.pt2")]
    assert main(["export", *flags]) == 0
    assert "_best_" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["nowhere", "--to", "pt2"], "a run: a folder, or a name"),
        (["grown", "--to", "zip"], "pt2, onnx, state"),
        (["grown", "--to", "pt2", "--checkpoint", "first"], "latest, best, last or a checkpoint"),
        (["grown", "--to", "state", "--out", "my-net.pt"], "a name that can be imported"),
        (["grown", "--to", "pt2", "--out", "/dev/null/net.pt2"], "a folder that can be written"),
    ],
)
def test_bad_usage_is_one_line(grown, capsys, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *flags, "--save-dir", str(grown.run_dir.parent)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
