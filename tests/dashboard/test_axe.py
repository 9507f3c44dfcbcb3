"""Each page and the wall under axe-core, light and dark: no finding that hinders a person."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from each_kind import write_runs
from playwright.sync_api import Browser, Page, expect

from lab.cli.serve import dashboard_server, free_port

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
MILLISECONDS = 120_000
"""That anything may take on a busy machine."""
HINDERS = ("critical", "serious", "moderate")
PAGES = {
    "live": "?run=digits",
    "wall": "?run=digits&view=wall",
    "runs": "runs",
    "studies": "studies?study=study",
    "help": "help",
}
"""Page -> address behind that of the server."""
DRAWN = {"live": ".lab-chart.js-plotly-plot", "wall": ".lab-wall .lab-chart.js-plotly-plot", "runs": ".stDataFrame"}
DRAWN |= {"studies": ".lab-chart.js-plotly-plot", "help": ".stMarkdown"}
"""Page -> what stands on it when it is drawn."""
STREAMLIT: Mapping[tuple[str, str], str] = {
    ("color-contrast", '<span title="'): "the names chosen in a multiselect are white on the primary colour, which has "
    "to be light in a dark theme: Streamlit writes the values of sliders in it",
}
"""Rule of axe and a part of the element's code -> why that is Streamlit's and not ours."""
AXE = "() => axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)"


def find_axe() -> Path | None:
    """axe.min.js: where LAB_AXE says, else among the packages that npm has installed here or for everybody."""
    if asked := os.environ.get("LAB_AXE"):
        return Path(asked)
    folders = [ROOT / "node_modules"]
    if npm := shutil.which("npm"):
        done = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=False)
        folders.append(Path(done.stdout.strip()))
    found = [folder / "axe-core" / "axe.min.js" for folder in folders]
    return next((path for path in found if path.is_file()), None)


@pytest.fixture(scope="module")
def axe() -> str:
    path = find_axe()
    if path is None:
        pytest.skip("no axe-core: npm install axe-core, or LAB_AXE=path of axe.min.js")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(axe: str, tmp_path_factory: pytest.TempPathFactory, recorder_class: Any) -> Iterator[str]:
    root = tmp_path_factory.mktemp("runs")
    open_runs = write_runs(root, recorder_class)
    for run in open_runs:
        run.finish()
    with dashboard_server(free_port(), root) as found:
        yield found


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, bypass_csp=True)
    found = context.new_page()
    found.set_default_timeout(MILLISECONDS)
    yield found
    context.close()


def findings(page: Page) -> list[str]:
    """What axe finds on the page: rule, impact, element."""
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:300]}"
        for rule in page.evaluate(AXE)
        if rule["impact"] in HINDERS
        for node in rule["nodes"]
    ]


def is_ours(finding: str) -> bool:
    """Whether a finding is none of those of Streamlit."""
    return not any(finding.startswith(rule) and part in finding for rule, part in STREAMLIT)


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_that_hinders_in_light_and_dark(page: Page, address: str, axe: str, name: str) -> None:
    page.goto(f"{address}/{PAGES[name]}")
    expect(page.locator(DRAWN[name]).first).to_be_visible(timeout=MILLISECONDS)
    page.evaluate(axe)
    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(500)
        found[scheme] = [finding for finding in findings(page) if is_ours(finding)]
    assert found == {"light": [], "dark": []}


def test_axe_sees_a_button_without_a_name(page: Page, address: str, axe: str) -> None:
    """The same call on a page with a fault: the test above can fail."""
    page.set_content("<html lang='en'><title>a</title><main><h1>a</h1><button></button></main></html>")
    page.evaluate(axe)
    assert [finding.split(" ")[0] for finding in findings(page)] == ["button-name"]
