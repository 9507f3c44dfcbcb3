"""A run as one HTML file: every kind of run, all that it shows inside it, nothing asked of a network."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from lab.cli import main
from lab.cli.runs_report import figures, render
from lab.store import RunReader

STORED = Path(__file__).parents[1] / "stored"
SEARCH = ["Phases", "Loss", "Accuracy", "Temperature and entropy", "Stability", "The cell", "Probabilities"]
TITLES = {
    "aso-se-grown": SEARCH,
    "aso-se-mid-transition": SEARCH,
    "agent": ["Phases", "Loss", "Accuracy", "Stability", "Actions of the agent", "Parameters"],
    "fixed": ["Phases", "Loss", "Accuracy", "Stability"],
    "hybrid": ["Phases", "Loss", "Accuracy", "Stability"],
}


@pytest.fixture
def runs(tmp_path):
    for name in TITLES:
        (tmp_path / name).mkdir()
        for file in ("events.db", "config.json"):
            if (STORED / name / file).is_file():
                shutil.copy(STORED / name / file, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", TITLES)
def test_each_kind_of_run_has_its_figures(runs, name):
    drawn = dict(figures(RunReader(runs / name)))
    assert list(drawn) == TITLES[name]
    assert all(len(figure.data) for figure in drawn.values())


def test_the_loss_is_that_of_the_store(runs):
    reader = RunReader(runs / "fixed")
    rows = reader.scalars(names=("loss",))
    curves = {trace.name: trace for trace in dict(figures(reader))["Loss"].data}
    assert list(curves["batches (raw)"].x) == list(rows.step)
    assert list(curves["batches (raw)"].y) == pytest.approx(rows.value)


def test_the_file_is_written_once_and_says_where(runs, capsys):
    assert main(["runs", "report", "fixed", "--save-dir", str(runs)]) == 0
    path = runs / "fixed" / "report.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert main(["runs", "report", "fixed", "--save-dir", str(runs)]) == 2
    assert "a file that is not there yet" in capsys.readouterr().err
    assert main(["runs", "report", "fixed", "--save-dir", str(runs), "--force"]) == 0
    out = runs / "no" / "a.html"
    assert main(["runs", "report", "fixed", "--save-dir", str(runs), "--out", str(out)]) == 2
    assert "a folder for the report" in capsys.readouterr().err
    assert main(["runs", "report", "none", "--save-dir", str(runs)]) == 2
    assert "a run: a folder, or a name inside" in capsys.readouterr().err


def test_what_a_run_is_called_cannot_become_html(runs):
    (runs / "fixed").rename(runs / "<b>fixed")
    assert "<b>fixed" not in render(runs / "<b>fixed")


@pytest.mark.browser
def test_a_browser_draws_it_without_a_network(runs, chromium):
    path = runs / "agent" / "report.html"
    path.write_text(render(runs / "agent"), encoding="utf-8")
    asked, errors = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri())
        page.wait_for_function("document.querySelectorAll('.main-svg').length > 0")
        drawn = page.locator(".js-plotly-plot").count()
        wide = page.evaluate("document.documentElement.scrollWidth")
        buttons = page.locator(".modebar-btn").evaluate_all("all => all.map((each) => each.dataset.title ?? '')")
        browser.close()
    assert (drawn, errors) == (len(TITLES["agent"]), [])
    assert wide <= 1000
    assert any("png" in title.lower() for title in buttons)
    assert not [title for title in buttons if "cloud" in title.lower() or "share" in title.lower()]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
