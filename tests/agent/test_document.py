"""The usage section of the document on device placement, as written but for the import paths."""

import re
from pathlib import Path

import torch

from lab.agent import DynamicArchitecture, InformationBottleneck, StructuralEvolution


def test_the_usage_section_runs_as_written(make_network, data, capsys):
    model, evolution, info_bottleneck = make_network(), StructuralEvolution(), InformationBottleneck()
    mini_loader = data[1]

    dynarch = DynamicArchitecture(
        base_model=model,
        evolution=evolution,
        ib=info_bottleneck,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    metrics = dynarch.evaluate(mini_loader)

    state = dynarch.get_state(metrics)  # Automatically on correct device
    action = dynarch.select_action(state)  # Handles device internally

    success, info = dynarch.apply_tentative(action, state, mini_loader)
    if not success:
        print(f"Evolution failed: {info.get('error', 'Unknown error')}")  # noqa: T201 - as the document has it

    assert state.device.type == dynarch.device.type
    assert 0 <= action < len(dynarch.actions)
    assert success is info["accepted"]
    assert ("Evolution failed" in capsys.readouterr().out) is not success
    assert dynarch.model is model
    policy = [*dynarch.learner.policy_net.parameters(), *dynarch.learner.target_net.parameters()]
    assert {p.device.type for p in policy} == {dynarch.device.type}
    trained = {id(p) for group in dynarch.learner.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in dynarch.learner.policy_net.parameters()}


def test_the_example_of_the_agents_page_runs_as_it_is_printed(capsys):
    page = (Path(__file__).parents[2] / "docs" / "agent.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    scope = {"__name__": "example"}
    exec(compile(block, "agent.md", "exec"), scope)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert scope["agent"].taken > 0
    for action in scope["agent"].actions:
        assert f"| {action} |" in page
