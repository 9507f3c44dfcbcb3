"""The agent's page in a real browser, against a real run whose network the agent changes."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lab.cli.serve import dashboard_server, free_port
from lab.store import RunReader, list_runs

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120_000
"""Milliseconds that anything may take on a busy machine."""


@dataclass(frozen=True)
class Evolving:
    """A training process that has been started."""

    run_dir: Path
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Until it trains."""
        end = time.monotonic() + 120
        while not any(run.state == "running" for run in list_runs(self.run_dir.parent)):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "the training did not begin"
            time.sleep(0.1)


@pytest.fixture
def evolving(tmp_path: Path) -> Iterator[Evolving]:
    """A training process with one round of two actions after its first epoch, each tried; ended at the end."""
    options = "--dataset digits --init-channels 4 --epochs 10025 --evolve-every 10000 --threads 1 --device cpu"
    options += " --least-effect 1e9 --trial-share 1e6"
    options += f" --name evolving --save-dir {tmp_path / 'runs'}"
    command = [sys.executable, "-m", "lab.cli", "train", "agent", *options.split()]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield Evolving(tmp_path / "runs" / "evolving", process, tmp_path / "log")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def actions(run_dir: Path) -> int:
    return len(RunReader(run_dir).events(kinds=("action",)).events)


def test_mutate_now_makes_the_agent_act_and_the_action_appears_without_reload(
    browser: Browser, evolving: Evolving
) -> None:
    with dashboard_server(free_port(), evolving.run_dir.parent) as address:
        page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        errors: list[str] = []
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(SECONDS)
        expect.set_options(timeout=SECONDS)
        # The server and the browser came up while the process did.
        evolving.wait()
        page.goto(address)
        chart = page.locator(".st-key-figure_actions .lab-chart")
        expect(chart).to_have_attribute("aria-label", re.compile("kept"))
        expect(page.get_by_text(re.compile("^Action 2 at step"))).to_be_visible()
        assert actions(evolving.run_dir) == 2
        page.evaluate("window.untouched = true")
        page.get_by_role("button", name="Mutate now: one action").click()
        expect(page.get_by_text(re.compile("Mutate now: done after"))).to_be_visible()
        expect(page.get_by_text(re.compile("^Action 3 at step"))).to_be_visible()
        assert actions(evolving.run_dir) == 3
        page.wait_for_function(
            "() => document.querySelector('.st-key-figure_actions .lab-chart')"
            "._fullData.reduce((sum, trace) => sum + trace.x.length, 0) === 3"
        )
        assert page.evaluate("window.untouched") is True
        page.context.close()
    assert errors == []
