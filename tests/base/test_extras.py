"""A missing optional package is told with the extra that brings it and the distribution's own name."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lab.base import DISTRIBUTION, EXTRAS, ConfigError, require_extra

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What the parts named here need beside the engine. The rest of the lab has to be importable without any of it.
WITHOUT = ("streamlit", "plotly", "anywidget", "ipywidgets", "jupyterlab", "IPython", "optuna", "transformers", "onnx")
BLOCK = f"""
import sys
for name in {WITHOUT}:
    sys.modules[name] = None
"""


def run_without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process where no package of an extra can be imported."""
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def packages_of(extra: str) -> set[str]:
    """Names that an extra of pyproject.toml lists, as they are imported."""
    listed = PROJECT["optional-dependencies"][extra]
    return {re.split(r"[\[<>=]", requirement)[0].replace("-", "_") for requirement in listed}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_extras_are_those_of_the_distribution(extra: str) -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert set(EXTRAS[extra]) <= packages_of(extra)
    if extra != "dev":
        assert set(EXTRAS[extra]) == packages_of(extra)


def test_one_extra_holds_everything_but_the_peers() -> None:
    (everything,) = PROJECT["optional-dependencies"]["all"]
    named = set(everything.removeprefix(f"{DISTRIBUTION}[").removesuffix("]").split(","))
    assert named == set(PROJECT["optional-dependencies"]) - {"all", "peers", "docs"}


def test_every_requirement_is_bounded_above() -> None:
    listed = [*PROJECT["dependencies"], *(r for rows in PROJECT["optional-dependencies"].values() for r in rows)]
    assert [r for r in listed if "<" not in r and not r.startswith(DISTRIBUTION)] == []


def test_a_missing_package_is_told_with_its_extra() -> None:
    with pytest.raises(ConfigError, match=r"found no not_there\. Run pip install 'asose-lab\[text\]', or wait\.$"):
        require_extra("text", "reading", ("sys", "not_there"), otherwise="wait")
    require_extra("text", "reading", ("sys", "json"))


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from lab.charts import curve_figure", "page"),
        ("from lab.lesson import Picture", "notebooks"),
        ("from lab.lesson import set_up; set_up()", "notebooks"),
        ("from lab.text import load_pretrained; load_pretrained('encoder')", "text"),
        ("from pathlib import Path; from lab.cli.serve import dashboard_server\n"
         "with dashboard_server(8765, Path('runs')): pass", "page"),
    ],
)  # fmt: skip
def test_a_part_without_its_extra_says_how_to_get_it(code: str, extra: str) -> None:
    run = run_without_extras(code)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("lab.base.errors.ConfigError: expected ")
    assert f"pip install 'asose-lab[{extra}]'" in run.stderr


def test_the_commands_and_the_engine_need_no_extra() -> None:
    commands = "demo train evolve runs doctor export bench dashboard"
    code = f"""
import importlib
for name in "{commands}".split():
    importlib.import_module("lab.cli." + name)
import lab.runs, lab.morph, lab.doctor, lab.agent, lab.mahia
from lab.charts import component_table, agent_actions, make_series
"""
    run = run_without_extras(code)
    assert run.returncode == 0, run.stderr
