"""Every operation on models that this project did not write; the table of docs/morphisms.md comes from here.

The fast form takes each architecture with fewer and thinner layers and smaller images, so seconds in place of minutes;
`LAB_LARGE=1` takes the models as torchvision has them. `LAB_LARGE=1 LAB_WRITE_DOCS=1 pytest tests/morph/test_models.py`
writes the table anew; otherwise its cells must say what is found.
"""

import copy
import io
import os
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import convnext, densenet, efficientnet, regnet, resnet, shufflenetv2, swin_transformer
from torchvision.models import vision_transformer as vit

from lab.base import MorphError
from lab.morph import AddBranch, Deepen, InsertAttention, InsertResidual, Prune, Widen, apply
from lab.nn import small_cnn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "morphisms.md"
LARGE = bool(os.environ.get("LAB_LARGE"))
SIZES = {"vit_b_16": (1, 224), "swin_t": (1, 224), "small_cnn": (4, 64)}
"""Batch and image size of the whole models; (4, 64) for those that are not named."""
MODELS = (
    "resnet18",
    "resnet50",
    "vgg11_bn",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "shufflenet_v2_x0_5",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "small_cnn",
)
LONG = (
    *("resnet50", "vgg11_bn", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf"),
    *("efficientnet_b0", "shufflenet_v2_x0_5", "swin_t"),
)
"""Relatives of models that stay: these run in the long form alone."""
COMPILED = MODELS if LARGE else ("resnet18", "densenet121", "vit_b_16", "small_cnn")
"""Models that are compiled too, which takes longest: one with sums, with joins, with tokens, and the lab's own."""
OPS = ("Widen", "Deepen", "InsertResidual", "InsertAttention", "AddBranch", "Prune")


class ThinResNet(resnet.ResNet):
    """An eighth of the channels behind the first layer."""

    def __init__(self, block, layers):
        super().__init__(block, layers)
        self.fc = nn.Linear(self.inplanes, 10)

    def _make_layer(self, block, planes, *args, **options):
        return super()._make_layer(block, planes // 8, *args, **options)


def thin_efficientnet():
    """Each kind of stage of EfficientNet-B0 once: no expansion, both kernel sizes, a block with a shortcut."""
    stages = [(1, 3, 1, 16, 8, 1), (6, 5, 2, 8, 16, 1), (6, 3, 2, 16, 24, 2)]
    return efficientnet.EfficientNet([efficientnet.MBConvConfig(*stage) for stage in stages], 0.2, last_channel=64)


def thin_vgg():
    """VGG-11 with 8 to 64 channels; its classifier, most of its weights, is as much thinner."""
    features = torchvision.models.vgg.make_layers([8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"], True)
    model = torchvision.models.VGG(features)
    model.classifier[0], model.classifier[3] = nn.Linear(64 * 7 * 7, 64), nn.Linear(64, 64)
    model.classifier[6] = nn.Linear(64, 10)
    return model


# As deep as lets the middle layer, where the operations act, be of the same kind as in the whole model.
THIN: dict[str, Callable[[], nn.Module]] = {
    "resnet18": partial(ThinResNet, resnet.BasicBlock, [1, 1, 1, 1]),
    "resnet50": partial(ThinResNet, resnet.Bottleneck, [1, 1, 3, 1]),
    "vgg11_bn": thin_vgg,
    "mobilenet_v2": partial(
        torchvision.models.MobileNetV2,
        width_mult=0.25,
        inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 64, 2, 2], [6, 96, 2, 2]],
    ),
    "mobilenet_v3_small": partial(torchvision.models.mobilenet_v3_small, width_mult=0.25),
    "efficientnet_b0": thin_efficientnet,
    "densenet121": partial(densenet.DenseNet, 8, (2, 2, 4, 2), 16),
    "shufflenet_v2_x0_5": partial(shufflenetv2.ShuffleNetV2, [2, 8, 2], [24, 24, 48, 96, 128]),
    "regnet_y_400mf": partial(
        regnet.RegNet, regnet.BlockParams.from_init_params(6, 16, 20.0, 2.0, group_width=8, se_ratio=0.25)
    ),
    "convnext_tiny": partial(
        convnext.ConvNeXt, [convnext.CNBlockConfig(24, 48, 1), convnext.CNBlockConfig(48, None, 3)]
    ),
    "vit_b_16": partial(
        vit.VisionTransformer, image_size=64, patch_size=16, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128
    ),
    "swin_t": partial(swin_transformer.SwinTransformer, [4, 4], 24, [1, 1, 3, 1], [3, 6, 12, 24], [7, 7]),
    "small_cnn": partial(small_cnn, size=32),
}


def build(name):
    """The model and a batch, with random weights everywhere: a head of zeros would prove nothing."""
    torch.manual_seed(0)
    if LARGE:
        batch, size = SIZES.get(name, (4, 64))
        model = small_cnn(size=size) if name == "small_cnn" else getattr(torchvision.models, name)(weights=None)
    else:
        model = THIN[name]()
        batch, size = (4, 32) if name == "small_cnn" else (4, 64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    x = torch.randn(batch, 3, size, size)
    if name not in ("vit_b_16", "swin_t", "convnext_tiny"):
        model.train()(x)
    return model.eval(), x


def sites(model, x):
    """The middle layer, and the outermost module around it that reads and gives maps or tokens."""
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    called = {}

    def note(name):
        def hook(module, args, output):
            tensors = args and torch.is_tensor(args[0]) and torch.is_tensor(output)
            if tensors and args[0].dim() == output.dim() and output.dim() in (3, 4):
                called[name] = output.shape

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    layer = next(name for name in layers[len(layers) // 2 :] + layers if name in called)
    around = [name for name in called if layer == name or layer.startswith(f"{name}.")]
    small = [name for name in around if len(called[name]) == 3 or called[name][-1] * called[name][-2] <= 1024]
    return layer, min(around, key=len), (small or [layer])[0]


def ops_for(model, layer, block, tokens):
    width = model.get_submodule(layer).weight.shape[0]
    return {
        "Prune": Prune(layer, width // 2),
        "Widen": Widen(layer, 2 * width),
        "Deepen": Deepen(layer),
        "AddBranch": AddBranch(layer),
        "InsertAttention": InsertAttention(tokens),
        "InsertResidual": InsertResidual(block),
    }


def noise(model, x):
    """Relative change of the output when each weight moves by one unit in its last place, float64."""
    one, other = copy.deepcopy(model).double(), copy.deepcopy(model).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            up = torch.rand_like(parameter) < 0.5
            parameter.copy_(torch.nextafter(parameter, torch.where(up, torch.inf, -torch.inf).double()))
        a, b = one(x.double()), other(x.double())
    return float((a - b).abs().max() / a.abs().max())


@pytest.fixture(scope="module")
def table():
    """Model -> operation -> cell, filled as the tests run."""
    return {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large if name in LONG else ()) for name in MODELS]
)
@pytest.mark.timeout(1800)
def test_no_operation_is_wrong_and_the_changed_model_is_an_ordinary_one(name, table):
    model, x = build(name)
    layer, block, tokens = sites(model, x)
    cells = {"noise": f"{noise(model, x):.0e}", "sites": f"`{layer}`, `{block}`, `{tokens}`"}
    ops = ops_for(model, layer, block, tokens)
    try:
        plan = ops.pop("Prune").plan(model, x)
        assert plan.parameters[1] < plan.parameters[0]
        assert plan.flops[1] < plan.flops[0]
        cells["Prune"] = f"changed {plan.max_difference:.0e}"
    except MorphError as error:
        cells["Prune"] = f"refused: {error.got}"
    # From the inside out, so that a name still means what it meant.
    expected = model(x).detach()
    for kind, op in ops.items():
        try:
            plan = op.plan(model, x)
        except MorphError as error:
            cells[kind] = f"refused: {error.got}"
            continue
        report = apply(plan, model)
        assert plan.max_difference <= 1e-10, f"{op} is wrong"
        assert report.applied
        report.release()
        cells[kind] = f"exact {plan.max_difference:.0e}"
    table[name] = cells
    with torch.no_grad():
        assert float((model(x) - expected).abs().max() / expected.abs().max()) <= 1e-4
    check_ordinary(model, x, compiled=name in COMPILED)


def check_ordinary(model, x, *, compiled):
    """Pickle, deepcopy, state_dict, export and the graph that a compiler takes."""
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(copy.deepcopy(model)(x), expected)
        stream = io.BytesIO(pickle.dumps(model))
        twin = pickle.load(stream)
        for parameter in twin.parameters():
            parameter.zero_()
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(x), expected)
        exported = torch.export.export(model, (x,)).module()
        assert torch.allclose(exported(x), expected, rtol=1e-3, atol=1e-4)
        if compiled:
            torch.compiler.reset()
            graph = torch.compile(model, backend="aot_eager")
            assert torch.allclose(graph(x), expected, rtol=1e-3, atol=1e-4)


def render(table):
    lines = []
    for name, cells in table.items():
        lines.append("| " + " | ".join([name, *(cells.get(op, "-") for op in OPS), cells["noise"]]) + " |")
    return lines


def test_the_page_says_what_was_found(table):
    rows = render(table)
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index("| resnet18 |"), text.index("\n\n", text.index("| small_cnn |"))
    if LARGE:
        assert set(table) == set(MODELS), "needs the rows of all models: run the whole file"
        exact = sum(cell.startswith("exact") for cells in table.values() for op, cell in cells.items() if op in OPS[:5])
        assert exact >= 0.8 * len(MODELS) * 5
        if os.environ.get("LAB_WRITE_DOCS"):
            text = text[:begin] + "\n".join(rows) + text[end:]
            PAGE.write_text(text, encoding="utf-8")
            end = text.index("\n\n", text.index("| small_cnn |"))
    # Sizes too are others in the fast form.
    figure = re.compile(r"\d+e[+-]\d+" if LARGE else r"\d+(e[+-]\d+)?")
    shown = [row for row in text[begin:end].splitlines() if row.split(" | ")[0].strip("| ") in table]
    assert shown
    assert [figure.sub("N", row) for row in shown] == [figure.sub("N", row) for row in rows]
