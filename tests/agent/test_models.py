"""Every action on the networks that people use: really applied, or masked with a reason; sound afterwards.

LAB_LARGE=1 takes ViT-B/16 whole, in place of a thin one of three blocks, small_cnn in its full width, and ResNet-18 and
MobileNetV2 beside them: minutes in place of seconds.
"""

import os

import pytest
import torch
import torchvision

from lab.agent import DynamicArchitecture
from lab.doctor import audit
from lab.nn import small_cnn
from lab.state import structure_digest, weight_digest

ACTIONS = ("prune", "expand", "mutate", "branch", "attention", "hybrid", "residual")
LARGE = bool(os.environ.get("LAB_LARGE"))

MODELS = {
    "small_cnn": lambda: small_cnn(channels=32 if LARGE else 8),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(weights=None, num_classes=10),
    "vit_b_16": lambda: torchvision.models.VisionTransformer(
        image_size=32,
        patch_size=16,
        num_layers=12 if LARGE else 3,
        num_heads=12,
        hidden_dim=768 if LARGE else 192,
        mlp_dim=3072 if LARGE else 768,
        num_classes=10,
    ),
}


LONG = ("resnet18", "mobilenet_v2")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.large if name in LONG else ()) for name in MODELS]
)
def agent(request):
    """One network of the kind; the actions of a test come one upon the other."""
    torch.manual_seed(0)
    model = MODELS[request.param]()
    generator = torch.Generator().manual_seed(0)
    size = 64 if request.param == "mobilenet_v2" else 32
    images = torch.randn(16, 3, size, size, generator=generator)
    batches = [(images, torch.randint(10, (16,), generator=generator))]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    made = DynamicArchitecture(
        model,
        optimizer=optimizer,
        train_loader=batches,
        probe_steps=1,
        acceptance_test=lambda trial: (True, "kept for the test"),
    )
    return made, batches


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_changes_the_network_or_says_why_it_cannot(agent, name):
    made, batches = agent
    metrics = made.evaluate(batches)
    before = structure_digest(made.model), weight_digest(made.model)
    kept, info = made.apply_tentative(ACTIONS.index(name), made.get_state(metrics), batches)
    after = structure_digest(made.model), weight_digest(made.model)
    if kept:
        assert info["applied"]
        assert after[0] != before[0]
        assert info["structure"] == [before[0], after[0]]
    else:
        assert not info["applied"]
        assert info["error"]
        assert made.refusals().get(name)
        assert after == before
    report = audit(made.model, made.tracked.optimizer)
    assert report.ok, str(report)
    # The network still trains: a gradient reaches what was there and what is new.
    made.tracked.train_step(made.model, made.optimizer, *made.tracked.probe(1))
    assert all(torch.isfinite(p).all() for p in made.model.parameters())
