"""The command line is a promise: every command and flag stands in HELD, and a change here is a change for users."""

import re

import pytest

from lab.cli import main

# What every recipe takes.
SHARED = """
    allow-different-bits batch-size checkpoint-frequency dataset describe detect-anomaly device epochs export extend
    grad-clip
    from-study json max-checkpoints max-rollbacks memory-fraction name precision rate-patience resume save-checkpoints
    save-dir seed threads weight-average weight-decay weight-lr weight-momentum weight-schedule
    weight-schedule-interval
"""
# What the recipes on images take beside that.
IMAGES = """
    grad-accum-steps adaptive-batch compile data-dir download init-channels on-oom train-limit workers
"""
SEARCH = """
    allow-none anneal-rate arch-lr arch-training-epochs arch-weight-decay auxiliary-skip beta-decay
    early-stopping-patience enable-gradual-growth exploration-factor growth growth-factor growth-schedule growth-units
    initial-temp layers max-skips min-temp mutation-frequency mutation-kind mutation-strength mutation-test
    performance-threshold
    preserve-function prior prior-evaluations prior-strength reading-share reject-z retraining-epochs sampling selection
    skip-dropout space stable-epochs target-accuracy
    temperature-schedule total-cycles trial-share trial-steps warmup-epochs weight-training-epochs
"""
PLAN = " budget plan "
AGENT = """
    agent-from compute evolve-actions evolve-every evolve-from fit-compute keep least-effect least-reward max-flops
    max-latency
    max-parameters model policy probe-steps reject-z trial-patience trial-share
"""
MULTITASK = """
    balance-weight bias-rate dwa-temperature embed-dim experts experts-per-sample fabric-layers fused-dim
    gradnorm-alpha gradnorm-rate memory-nodes table-dim weighting
"""
TEXT = """
    adaptive-batch criteria-weight dropout encoder fold-column freeze-encoder grad-accum-steps head-dim head-layers hub
    label-column label-value max-length pooling search-share selection-share span-column span-name task test-fold
    text-column tiny-dim tiny-heads tiny-layers train-share
"""
# Command -> its flags, without --help and the --no- forms.
HELD = {
    "demo": """browser cycles data-dir dataset device headless json port replay save-dir seed threads train-limit""",
    "train": SHARED + IMAGES + SEARCH + PLAN,
    "train aso-se": SHARED + IMAGES + SEARCH + PLAN,
    "train fixed": SHARED + IMAGES + PLAN + "space layers fixed-cell",
    "train agent": SHARED + IMAGES + AGENT,
    "train multitask": SHARED + MULTITASK,
    "train text": SHARED + TEXT,
    "search": """
        batch-size budget channels data data-dir download evaluations evidence folder json layers max-flops prior scores
        seed space threads train-limit
    """,
    "evolve": SHARED + IMAGES + AGENT,
    "dashboard": "browser port save-dir",
    "export": "checkpoint json out save-dir to",
    "runs": "json save-dir",
    "runs show": "json save-dir",
    "runs report": "force out save-dir",
    "runs restore": "checkpoint json name save-dir",
    "lessons": "browser check folder out port seconds student",
    "lessons run": "",
    "doctor": "data-dir follow-data json port simulate",
    "morph": "dilation dry-run groups heads json kernel layer op plan seed to where width",
    "tune": IMAGES
    + """
        agent batch-size checkpoint-frequency dataset device epochs fixed-cell grad-clip grid-points json layers
        max-checkpoints max-rollbacks memory-fraction n-trials objectives outdir parallel patience precision pruner
        rate-patience recipe resume retries sampler save-checkpoints search seed space space-file storage study threads
        trial-timeout weight-average weight-decay weight-lr weight-momentum weight-schedule weight-schedule-interval
    """,
    "tune show": "json outdir",
    "bench": "out",
    "experiment": "out",
    "bench long_run": "chromium genotypes json out scalars seed settle watch",
    "bench overhead": "batch channels checkpoint-frequency dataset json out rounds threads",
    "experiment remedies": """arch-lr arch-training-epochs batch-size channels folder json out seeds warmup-epochs""",
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
    return {
        flag
        for flag in flags
        if flag not in ("help", "help-all") and not (flag.startswith("no-") and flag[3:] in flags)
    }


def commands_of(overview: str) -> list[str]:
    """Commands that the overview lists, one to a line."""
    return re.findall(r"^  ([a-z-]+)  ", overview, re.MULTILINE)


SHORT = ("train", "evolve", "tune")
"""Commands whose --help leaves the rarer options to --help-all."""


def help_of(command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "120")
    try:
        code: object = main([*command, "--help-all" if command[:1] and command[0] in SHORT else "--help"])
    except SystemExit as ended:
        code = ended.code
    assert code in (0, None)
    return capsys.readouterr().out


def test_the_commands_are_those_that_are_held(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(commands_of(help_of([], capsys, monkeypatch))) == {command.split()[0] for command in HELD}
    recipes = commands_of(help_of(["train"], capsys, monkeypatch))
    assert recipes == [command.removeprefix("train ") for command in HELD if command.startswith("train ")]


@pytest.mark.parametrize("command", HELD)
def test_the_flags_of_a_command_are_those_that_are_held(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, held = flags_of(help_of(command.split(), capsys, monkeypatch)), set(HELD[command].split())
    assert flags == held, f"lab {command} gained {sorted(flags - held)} and lost {sorted(held - flags)}"


def test_every_flag_that_the_document_names_is_held() -> None:
    assert set(DOCUMENTED.split()) <= set(HELD["train"].split())


def test_the_readers_of_help_pages_see_every_flag_and_command() -> None:
    page = "usage: x [--not-this]\n│ -h, --help   show --nothing │\n│ --a-b, --no-a-b   see --c │\n│ --seed INT │"
    assert flags_of(page) == {"a-b", "seed"}
    assert commands_of("usage: lab\n\n  demo   a network\n  runs  list\nthen:  x\n") == ["demo", "runs"]
