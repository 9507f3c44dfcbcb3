"""A process that a load race or a forgotten switch has changed; real races run in a process of their own."""

import json
import textwrap
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lab.doctor import process_check


def _kinds() -> dict[str, str]:
    return {finding.name: finding.kind for finding in process_check().findings}


RunCode = Callable[[str], tuple[int, str]]


def test_a_fresh_process_has_no_findings(run_code: RunCode) -> None:
    code = "import lab.doctor; report = lab.doctor.process_check(); assert report.ok, str(report)"
    assert run_code(code) == (0, "")


@pytest.mark.parametrize(
    ("holder", "name", "found"),
    [
        (nn.Module, "register_parameter", "nn.Module.register_parameter"),
        (nn.init, "normal_", "nn.init.normal_"),
        (torch, "linspace", "torch.linspace"),
    ],
)
def test_a_replaced_function_is_found_by_name(
    holder: object, name: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found not in _kinds()
    monkeypatch.setattr(holder, name, lambda *args, **kwargs: None)
    assert _kinds()[found] == "poisoned function"
    assert not process_check().ok
    assert found in str(process_check())


def test_anomaly_mode_that_was_left_on_is_found() -> None:
    assert "torch.autograd" not in _kinds()
    torch.autograd.set_detect_anomaly(True)
    try:
        assert _kinds()["torch.autograd"] == "anomaly mode left on"
    finally:
        torch.autograd.set_detect_anomaly(False)


def test_a_changed_default_device_is_found() -> None:
    with torch.device("meta"):
        assert _kinds()["torch.get_default_device()"] == "default device changed"
    assert "torch.get_default_device()" not in _kinds()


def test_a_changed_default_dtype_is_found() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert _kinds()["torch.get_default_dtype()"] == "default dtype changed"
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_two_loads_that_overlapped_are_found_in_the_process_that_they_poisoned(run_code: RunCode) -> None:
    pytest.importorskip("transformers")
    code = textwrap.dedent("""
        import json
        from transformers import initialization, modeling_utils
        from lab.doctor import process_check

        before = process_check().ok
        first, second = initialization.no_tie_weights(), initialization.no_tie_weights()
        first.__enter__()
        second.__enter__()
        during = process_check()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        after = process_check()
        print(json.dumps([before, during.notes, [finding.name for finding in after.findings]]))
    """)
    status, output = run_code(code)
    assert status == 0, output
    before, during, after = json.loads(output.splitlines()[-1])
    assert before
    assert during, "the loads in progress are named, and nothing is judged while they run"
    assert "PreTrainedModel.tie_weights" in after


def test_the_report_is_plain_data() -> None:
    with torch.device("meta"):
        data = process_check().to_dict()
    assert data["ok"] is False
    assert data["findings"][0]["kind"] == "default device changed"
