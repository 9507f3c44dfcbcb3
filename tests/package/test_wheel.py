"""The wheel holds package, page, lessons, the table of 125 cells and the recorded runs; it works without a checkout."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lab import __version__
from lab.cli.serve import free_port

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = {"__pycache__", ".ipynb_checkpoints"}
TABLE = """
from random import Random
from lab.space import NB125, find_table, sample
table = find_table(NB125)
print(table.rank(sample(NB125, Random(0)), table.columns[0]))
"""
PAGE = """
import sys
from lab.cli.serve import dashboard_script, settings_folder
from streamlit.testing.v1 import AppTest
script = dashboard_script()
assert (settings_folder(script) / ".streamlit" / "config.toml").is_file()
sys.path.insert(0, str(script.parent))
page = AppTest.from_file(str(script), default_timeout=120).run()
sys.stdout.write(f"{len(page.exception)} exceptions, {len(page.markdown) + len(page.info) + len(page.title) > 0}")
"""


def run(environment: Path, folder: Path, *command: str, seconds: float = 500) -> "subprocess.CompletedProcess[str]":
    """Run a program of the environment in `folder`, without this checkout on the path."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LAB_NAS_TABLES")}
    program = [str(environment / command[0]), *command[1:]]
    return subprocess.run(
        program, cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds, check=False
    )


def test_the_wheel_holds_every_file_of_the_package_and_of_the_page(contents: frozenset[str]) -> None:
    inside = {"lab": "lab", "dashboard": "lab/dashboard", ".streamlit": "lab/dashboard/.streamlit"}
    inside |= {"data/recorded": "lab/data/recorded", "notebooks": "lab/notebooks"}
    expected = {"lab/py.typed", "lab/data/nb125_digits.csv"}
    for folder, place in inside.items():
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and not NOT_SHIPPED & {*path.parts}]
        expected |= {f"{place}/{path.relative_to(ROOT / folder).as_posix()}" for path in files}
    assert {"lab/data/recorded/digits/events.db", "lab/data/recorded/digits-fixed/events.db"} <= expected
    assert len(expected) > 250
    assert expected <= contents


def test_the_wheel_installs_one_top_level_name(contents: frozenset[str]) -> None:
    tops = {path.split("/")[0] for path in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lab"}
    assert not [path for path in contents if path.endswith(".pyc") or NOT_SHIPPED & {*path.split("/")}]


@pytest.mark.large
def test_both_spellings_of_the_command_run_the_wheel(environment: Path, tmp_path: Path) -> None:
    found = run(environment, tmp_path, "python", "-c", "import lab; print(lab.__file__)")
    assert Path(found.stdout.strip()).is_relative_to(environment.parent), found
    for command in (("lab", "--version"), ("python", "-m", "lab", "--version")):
        assert run(environment, tmp_path, *command).stdout.strip() == __version__


@pytest.mark.large
def test_the_wheel_finds_the_table_of_125_cells(environment: Path, tmp_path: Path) -> None:
    found = run(environment, tmp_path, "python", "-c", TABLE)
    assert 1 <= int(found.stdout) <= 125, found


@pytest.mark.large
def test_the_wheel_trains_the_demo(environment: Path, tmp_path: Path) -> None:
    command = ("lab", "demo", "--headless", "--json", "--train-limit", "400", "--save-dir", "runs")
    found = run(environment, tmp_path, *command)
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert {each["state"] for each in result.values()} == {"finished"}
    assert result["evolved"]["network"]["growths"] == 3
    assert len(list((tmp_path / "runs").glob("demo*/events.db"))) == len(result) == 4


@pytest.mark.large
def test_the_wheel_shows_the_page(environment: Path, tmp_path: Path) -> None:
    found = run(environment, tmp_path, "python", "-c", PAGE)
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("0 exceptions, True"), found.stdout


@pytest.mark.large
def test_the_wheel_has_the_lessons_and_opens_a_copy_of_them(environment: Path, tmp_path: Path) -> None:
    found = run(environment, tmp_path, "lab", "lessons", "run", "00b")
    assert found.returncode == 0, found.stderr
    assert "# 00b Autograd in one picture" in found.stdout
    port = free_port()
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(environment / "lab"), "lessons", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE)
    try:
        assert wait_for(process, f"http://127.0.0.1:{port}/api", seconds=90)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    copied = {path.name for path in (tmp_path / "lab-lessons").iterdir() if path.is_file()}
    assert copied == {path.name for path in (ROOT / "notebooks").iterdir() if path.is_file()}


@pytest.mark.large
@pytest.mark.skipif(sys.platform == "win32", reason="a command is ended by a signal here")
def test_the_wheel_serves_the_dashboard(environment: Path, tmp_path: Path) -> None:
    port = free_port()
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(environment / "lab"), "dashboard", "--no-browser", "--port", str(port), "--save-dir", "runs"]
    process = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE)
    try:
        assert wait_for(process, f"http://127.0.0.1:{port}/_stcore/health", seconds=90)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def wait_for(process: "subprocess.Popen[bytes]", url: str, seconds: float) -> bool:
    """Whether a server answers within `seconds`, before its command ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False
