"""A test that this machine cannot run is skipped, and fails where it is required."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE_TEST = """
import pytest

@pytest.mark.browser
def test_page(chromium):
    assert chromium.name == "chromium"
"""
GPU_TEST = """
import pytest

@pytest.mark.gpu
def test_gpu():
    import torch
    assert torch.cuda.is_available()
"""


def run_pytest(folder: Path, test: str, environment: dict[str, str]) -> str:
    """Last line of a pytest run of `test` under the project's conftest, with nothing else on PATH."""
    shutil.copy(Path(__file__).parents[1] / "conftest.py", folder)
    (folder / "test_marked.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  browser: page\n  gpu: cuda\n")
    kept = {
        key: value for key, value in os.environ.items() if key not in ("LAB_REQUIRE_BROWSER", "PATH", "PYTEST_ADDOPTS")
    }
    kept |= {"PATH": "", "PLAYWRIGHT_BROWSERS_PATH": str(folder / "none"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    kept |= environment
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    run = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    return run.stdout.strip().splitlines()[-1]


def test_a_page_test_without_a_browser_is_skipped(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, PAGE_TEST, {}).startswith("1 skipped")


def test_a_page_test_without_a_required_browser_fails(tmp_path: Path) -> None:
    assert "1 error" in run_pytest(tmp_path, PAGE_TEST, {"LAB_REQUIRE_BROWSER": "1"})


@pytest.mark.parametrize("required", ["0", "1"])
def test_a_page_test_gets_the_browser_that_is_on_the_path(tmp_path: Path, required: str) -> None:
    browser = tmp_path / "bin/chromium"
    browser.parent.mkdir()
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    environment = {"PATH": str(browser.parent), "LAB_REQUIRE_BROWSER": required}
    assert run_pytest(tmp_path, PAGE_TEST, environment).startswith("1 passed")


def test_a_gpu_test_without_cuda_is_skipped(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, GPU_TEST, {"CUDA_VISIBLE_DEVICES": ""}).startswith("1 skipped")
