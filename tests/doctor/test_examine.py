"""All instruments on one model."""

import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lab.base import ConfigError, PlacementError
from lab.doctor import examine


class Broken(nn.Module):
    """A plain tensor, a module in a list, a state that carries its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.heads = [nn.Linear(4, 2)]
        self.register_buffer("mem", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(nn.functional.dropout(self.norm(self.fc(x))) + self.mem)
        self.mem = 0.9 * self.mem + 0.1 * h.mean(0)
        return self.heads[0](h)


def test_one_page_names_every_fault_of_a_model_and_leaves_it_as_it_was() -> None:
    model, batch = Broken(), torch.randn(3, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stream = torch.get_rng_state()
    report = examine(model, batch, placements=["cuda:0", {"fc": "cuda:1", "norm": "cuda:1"}])
    page = str(report)
    for text in ("heads[0]", "module hidden in a list or dict", "cuda:1", "carried state", "persistent buffer mem"):
        assert text in page
    assert not report.ok
    assert page.startswith("Doctor: ")
    assert report.headline == (
        f"{len(report.audit.findings) + len(report.backward.findings) + 2} found "
        f"({len(report.audit.findings)} by audit, 2 by simulation, {len(report.backward.findings)} by backward)"
    )
    assert [simulation.verdict for simulation in report.simulations] == ["mismatch", "mismatch"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.isnan(value.float()).any()
    assert model.mem.grad_fn is None
    assert model.fc.weight.grad is None
    assert torch.equal(torch.get_rng_state(), stream)


def test_a_healthy_model_gets_a_clean_page_and_plain_data() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    batch, target = torch.randn(6, 4), torch.randint(0, 2, (6,))
    report = examine(
        model, batch, lambda output, _: nn.functional.cross_entropy(output, target), placements=["cuda:0", "cuda:1"]
    )
    assert report.ok, str(report)
    assert report.backward is not None
    data = report.to_dict()
    assert data["ok"]
    assert [simulation["devices"] for simulation in data["simulations"]] == [["cuda:0"], ["cuda:1"]]
    assert report.to_json()


def test_keyword_batches_and_structured_outputs_are_taken() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
            return {"logits": self.fc(x) * scale, "ids": torch.arange(3)}

    batch = {"x": torch.ones(2, 4), "scale": torch.ones(2, 4)}
    assert examine(Named(), batch, placements=["cuda"]).ok


def test_without_a_batch_only_what_needs_no_forward_is_run_and_the_page_says_so() -> None:
    report = examine(nn.Linear(2, 2))
    assert report.ok
    assert str(report).startswith("Doctor: nothing found by looking; nothing was run")
    assert report.backward is None
    assert "no batch was given" in str(report)


def test_meta_tensors_and_frozen_models_are_not_run_and_the_page_says_so() -> None:
    hollow = examine(nn.Linear(2, 2, device="meta"), torch.ones(1, 2), placements=["cuda"])
    assert not hollow.ok
    assert "forward and backward were not run" in str(hollow)
    frozen = examine(nn.Linear(2, 2).requires_grad_(False), torch.ones(1, 2))
    assert frozen.ok
    assert "no parameter requires a gradient" in str(frozen)


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="placements without one"):
        examine(nn.Linear(2, 2), placements=["cuda"])

    class Counts(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).argmax(1)

    with pytest.raises(ConfigError, match="loss="):
        examine(Counts(2, 2), torch.ones(1, 2))


def _locked() -> nn.Module:
    model = nn.Linear(4, 4)
    model.lock = threading.Lock()
    return model


def _normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2))


def _not_a_leaf() -> nn.Module:
    model = nn.Linear(4, 4)
    model.gain = nn.Parameter(torch.ones(4)) * 1
    return model


def _no_parameter() -> nn.Module:
    model = nn.Linear(4, 4)
    model._parameters["gain"] = torch.ones(4, requires_grad=True) * 1
    return model


class Refuses(nn.Linear):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise ValueError("one of a kind")


@pytest.mark.parametrize(
    ("make", "instrument"),
    [
        (_no_parameter, "simulation on cuda:0 ("),
        (_no_parameter, "backward ("),
        (lambda: Refuses(4, 4), "simulation on cuda:0 ("),
        (lambda: Refuses(4, 4), "backward ("),
        (_locked, "simulation on cuda:0 ("),
        (_locked, "backward ("),
        (_normed, "backward ("),
        (_not_a_leaf, "backward ("),
        (lambda: nn.LazyLinear(4), "simulation on cuda:0 ("),
    ],
)
def test_what_cannot_be_copied_is_a_row_and_the_rest_of_the_page_is_there(
    make: Callable[[], nn.Module], instrument: str
) -> None:
    model = make()
    model.shared = [nn.Linear(4, 4)]
    report = examine(model, torch.ones(2, 4), placements=["cuda:0"])
    page = str(report)
    assert not report.ok
    assert report.to_dict()["refused"] == list(report.refused)
    assert any(refusal.startswith(instrument) for refusal in report.refused)
    assert all(f"not run: {refusal}" in page for refusal in report.refused)
    ran = [one for one in (*report.simulations, report.backward, report.training) if one is not None]
    assert len(report.refused) + len(ran) == 3
    assert "shared[0]" in page
    assert report.headline.startswith(f"{len(report.audit.findings)} found ({len(report.audit.findings)} by audit")
    assert report.headline.endswith(f"{len(report.refused)} not run")
    with pytest.raises(PlacementError, match="no_device"):
        examine(nn.Linear(4, 4), torch.ones(2, 4), placements=["no_device"])


def test_an_error_of_a_simulated_forward_alone_is_a_row_and_the_rest_is_run() -> None:
    class OnlyOnCpu(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if x.is_cuda:
                raise LookupError("no kernel for this device")
            return super().forward(x)

    report = examine(OnlyOnCpu(4, 4), torch.ones(2, 4))
    assert report.simulations == ()
    assert report.backward is not None
    assert report.backward.ok
    (refusal,) = report.refused
    assert refusal.startswith("simulation on cuda:0 (LookupError: no kernel for this device at ")
    assert not report.ok
    assert report.exit_code == 3


def test_exit_codes_follow_what_was_found_before_what_was_not_checked() -> None:
    healthy = nn.Linear(4, 4)
    assert examine(healthy, torch.ones(2, 4)).exit_code == 0
    assert examine(healthy).exit_code == 3
    assert examine(_locked(), torch.ones(2, 4)).exit_code == 3
    model = _locked()
    model.shared = [nn.Linear(4, 4)]
    report = examine(model, torch.ones(2, 4))
    assert report.exit_code == 1
    assert report.unchecked == report.refused


def test_each_instrument_is_a_row() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    rows = dict(examine(model, torch.ones(2, 4), placements=["cuda:0", "cuda:1"]).tables()[0].rows)
    assert rows == {
        "process": "nothing found",
        "audit": "nothing found",
        "simulation on cuda:0": "ok",
        "simulation on cuda:1": "ok",
        "backward": "nothing found",
        "training": "nothing found",
    }
    rows = dict(examine(_locked(), torch.ones(2, 4)).tables()[0].rows)
    assert rows["backward"] == rows["simulation on cuda:0"] == "not run"
    rows = dict(examine(model, placements=()).tables()[0].rows)
    assert rows["backward"] == rows["simulation"] == "not run"


class _Detaching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).detach())


def test_the_page_has_the_training_check() -> None:
    report = examine(_Detaching(), torch.ones(2, 4))
    assert report.training is not None
    assert [finding.category for finding in report.training.findings] == ["graph cut by detach"]
    assert not report.ok
    assert "1 found (1 by training)" in report.headline
    assert report.to_dict()["training"]["findings"][0]["names"] == ["first.weight", "first.bias"]
    assert "plain SGD, no optimizer was given" in str(report)


def test_a_loss_without_a_graph_does_not_end_the_page() -> None:
    model = nn.Linear(4, 2)
    report = examine(model, torch.ones(2, 4), lambda output, batch: output.argmax(1).float().mean())
    assert report.backward is None
    assert "the loss has no graph: backward was not run" in report.notes
    assert report.training is not None
    assert [finding.category for finding in report.training.findings] == [
        "graph cut by an operation without a gradient"
    ]


def test_the_users_own_step_and_optimizer_are_checked() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    x = torch.randn(3, 4)
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    report = examine(model, step=lambda: model(x).square().mean(), optimizer=optimizer)
    assert report.training is not None
    assert [(finding.category, finding.names) for finding in report.training.findings] == [
        ("frozen BatchNorm that moves", ("1",))
    ]
    assert report.training.optimizer == "SGD"


def test_a_step_that_torch_refuses_in_backward_leaves_the_training_check_out() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.sigmoid(self.fc(x))
            h += 1
            return h

    report = examine(InPlace(), torch.ones(2, 4))
    assert report.training is None
    assert "backward raised: training was not checked" in report.notes
