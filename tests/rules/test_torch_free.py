"""What a person waits for answers without torch, and soon: help pages, the list of runs, what can be trained."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli import lessons
from lab.cli.bench import BENCHES
from lab.cli.experiment import EXPERIMENTS
from lab.cli.main import COMMANDS
from lab.cli.recipes import RECIPES
from lab.cli.runs import ACTIONS

PAGES = [
    *([], ["--version"]),
    *([name] for name in COMMANDS),
    *(["train", name] for name in RECIPES),
    *(["train", name, "--help-all"] for name in RECIPES),
    *(["runs", name] for name in ACTIONS),
    *(["lessons", name] for name in lessons.ACTIONS),
    *(["bench", name] for name in BENCHES),
    *(["experiment", name] for name in EXPERIMENTS),
]
SCRIPT = """
import contextlib, io, json, socket, sys
from lab.cli import main
for command in json.loads(sys.argv[1]):
    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            code = main(command)
        except SystemExit as ended:
            code = ended.code
    found = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "torchvision", "transformers"})
    if code or found or not said.getvalue().strip():
        print(command, "exit code", code, "loaded", found, errors.getvalue())
        break
"""


def answers(commands: list[list[str]]) -> str:
    """What is wrong with the first of `commands`, run in one process, that fails or loads torch; empty where none."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    return run.stdout + run.stderr


def test_every_help_page_comes_without_torch() -> None:
    assert len(PAGES) > 30
    assert answers([[*command, "--help"] if command != ["--version"] else command for command in PAGES]) == ""


def test_runs_and_choices_are_listed_without_torch(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "tests" / "stored", tmp_path / "runs")
    runs = ["--save-dir", str(tmp_path / "runs")]
    names = [path.name for path in (tmp_path / "runs").iterdir()]
    shown = [["runs", "show", name, *runs, *more] for name in names for more in ([], ["--json"])]
    listed = [["runs", *runs], ["runs", *runs, "--json"], ["train", "--describe"], ["train", "--describe", "--json"]]
    assert answers([*listed, *shown]) == ""


def test_the_page_is_served_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from lab.cli import dashboard, main; dashboard.stay = lambda: print('torch' in sys.modules); "
        "from lab.cli.serve import free_port; "
        f"main(['dashboard', '--no-browser', '--save-dir', {str(tmp_path)!r}, '--port', str(free_port())])"
    )
    pytest.importorskip("streamlit")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "False", run.stderr


def loaded_by(arguments: list[str]) -> int:
    """Modules that a process holds after it has answered."""
    code = (
        "import contextlib, io, sys\nfrom lab.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({arguments!r})\n"
        "print(len(sys.modules))"
    )
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("page", [["train", "--help-all"], ["morph", "--help"], ["bench", "--help"]], ids=" ".join)
def test_a_help_page_loads_at_most_twice_the_modules_of_the_shortest(page: list[str]) -> None:
    # A count and no time: a busy machine is no failure. One that uses scikit-learn or streamlit would load ten times.
    assert loaded_by(page) <= 2 * loaded_by(["--help"])


SLOW = {"sklearn", "torchvision", "transformers"}
# Nothing else is asked of these modules, and lab.runs does not import them.
READERS = ("bench/morph.py", "datasets/vision.py")


def test_packages_that_are_slow_to_import_are_loaded_where_they_are_used() -> None:
    """They cost each run and each command that trains seconds; most of them need none of these."""
    lab = Path(__file__).resolve().parents[2] / "lab"
    found = []
    for path in sorted(lab.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if SLOW & {name.partition(".")[0] for name in names}:
                found.append(path.relative_to(lab).as_posix())
    assert found == sorted(READERS)
