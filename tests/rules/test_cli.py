"""The command line is a promise: every command and flag stands in HELD, and a change here is a change for users."""

import re

import pytest

from lab.cli import main

# What both ways to train take.
TRAINING = """
    grad_accum_steps adaptive-batch agent-from allow-different-bits allow-none anneal-rate arch-lr
    arch-training-epochs arch-weight-decay auxiliary-skip balance-weight batch-size beta-decay bias-rate
    checkpoint-frequency compile compute data-dir dataset describe detect-anomaly device download
    dwa-temperature early-stopping-patience embed-dim enable-gradual-growth epochs evolve-actions evolve-every
    evolve-from experts experts-per-sample exploration-factor fabric-layers fixed-cell fused-dim grad-clip
    gradnorm-alpha gradnorm-rate growth growth-factor growth-schedule init-channels initial-temp json layers
    least-reward max-checkpoints max-flops max-latency max-parameters max-rollbacks max-skips memory-fraction
    memory-nodes min-temp model mutation-frequency mutation-kind mutation-strength mutation-test name on-oom
    performance-threshold policy precision preserve-function probe-steps rate-patience recipe reject-z
    resume sampling save-checkpoints save-dir seed selection skip-dropout space stable-epochs table-dim
    target-accuracy temperature-schedule threads total-cycles train-limit warmup-epochs weight-decay weight-lr
    weight-momentum weight-schedule weight-training-epochs weighting workers
"""
# Command -> its flags, without --help and the --no- forms.
HELD = {
    "demo": """browser cycles data-dir dataset device headless json port save-dir seed threads train-limit""",
    "train": TRAINING,
    "evolve": TRAINING,
    "dashboard": "browser port save-dir",
    "export": "checkpoint json out save-dir to",
    "runs": "json save-dir",
    "doctor": "data-dir follow-data json port simulate",
    "bench": "out",
}
# What the ASO-SE document's command line takes, by the names it gives.
DOCUMENTED = """
    dataset epochs batch-size save-checkpoints save-dir init-channels layers warmup-epochs arch-training-epochs
    initial-temp mutation-strength device memory-fraction resume
"""


def flags_of(help_text: str) -> set[str]:
    """Flags that a help page declares: those that begin a line of its option boxes, and their other spellings."""
    declared = re.findall(r"^\W*(?:-\w, )?(--[a-z].*)$", help_text, re.MULTILINE)
    flags = {flag for line in declared for flag in re.findall(r"--([a-z][a-z0-9-]*)", line.split("  ")[0])}
    return {flag for flag in flags if flag != "help" and not (flag.startswith("no-") and flag[3:] in flags)}


def commands_of(overview: str) -> list[str]:
    """Commands that the overview lists, one to a line."""
    return re.findall(r"^  ([a-z]+)  ", overview, re.MULTILINE)


def help_of(command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "120")
    try:
        code: object = main([*command, "--help"])
    except SystemExit as ended:
        code = ended.code
    assert code in (0, None)
    return capsys.readouterr().out


def test_the_commands_are_those_that_are_held(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(commands_of(help_of([], capsys, monkeypatch))) == sorted(HELD)


@pytest.mark.parametrize("command", HELD)
def test_the_flags_of_a_command_are_those_that_are_held(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, held = flags_of(help_of([command], capsys, monkeypatch)), set(HELD[command].split())
    assert flags == held, f"lab {command} gained {sorted(flags - held)} and lost {sorted(held - flags)}"


def test_every_flag_that_the_document_names_is_held() -> None:
    assert set(DOCUMENTED.split()) <= set(HELD["train"].split())


def test_the_readers_of_help_pages_see_every_flag_and_command() -> None:
    page = "usage: x [--not-this]\n│ -h, --help   show --nothing │\n│ --a-b, --no-a-b   see --c │\n│ --seed INT │"
    assert flags_of(page) == {"a-b", "seed"}
    assert commands_of("usage: lab\n\n  demo   a network\n  runs  list\nthen:  x\n") == ["demo", "runs"]
