import copy

import pytest
import torch
import torchvision

from lab.morph import MorphPlan, SetDilation, SetGroups, SetHeads, SetKernel, apply, rebuild
from lab.state import structure_digest


def models():
    return {
        "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
        "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=10),
        "vit_b_16": lambda: torchvision.models.VisionTransformer(32, 16, 4, 12, 192, 384, num_classes=10),
    }


@pytest.mark.parametrize(
    ("name", "exact", "inexact"),
    [
        ("resnet18", (SetKernel("conv1", 9),), (SetKernel("conv1", 5), SetDilation("layer2.0.conv1", 2))),
        pytest.param(
            "mobilenet_v2",
            (SetKernel("features.1.conv.0.0", 5), SetGroups("features.1.conv.0.0", 8)),
            (SetDilation("features.1.conv.0.0", 2),),
            marks=pytest.mark.large,
        ),
        ("vit_b_16", (), (SetHeads("encoder.layers.encoder_layer_3", 6),)),
    ],
)
def test_on_models_of_torchvision_what_is_exact_is_and_the_rest_says_so(name, exact, inexact):
    torch.manual_seed(0)
    model, x = models()[name](), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        list(model.parameters())[-2].normal_()
    for op in (*exact, *inexact):
        plan = op.plan(model, x)
        report = apply(MorphPlan.from_json(plan.to_json()), model)
        assert report.applied, op
        assert plan.exact is (op in exact), op
        assert (plan.max_difference <= 1e-10) is plan.exact, op
        report.release()
    assert model.eval()(x).isfinite().all()
    if name == "vit_b_16":
        block = model.encoder.layers.encoder_layer_3
        assert (block.num_heads, block.self_attention.num_heads, block.self_attention.head_dim) == (6, 6, 32)


@pytest.mark.parametrize("op", [SetKernel("features.conv2", 5), SetKernel("features.conv2", 1),
                                SetDilation("features.conv2", 2), SetGroups("features.conv2", 4)], ids=str)  # fmt: skip
def test_the_next_plan_and_replay_fit_what_a_change_made(specimen, images, op):
    blank = copy.deepcopy(specimen)
    first = op.plan(specimen, images)
    apply(first, specimen)
    second = SetKernel("features.conv3", 5).plan(specimen, images)
    apply(second, specimen)
    twin = rebuild(blank, (MorphPlan.from_json(first.to_json()), MorphPlan.from_json(second.to_json())))
    assert structure_digest(twin) == structure_digest(specimen)
    twin.load_state_dict(specimen.state_dict())
    assert torch.equal(twin.eval()(images), specimen.eval()(images))
