"""Pictures of every page and kind of run: wide, 1024 and 390 pixels, light and dark; the README's is one of them.

    python .ci/screenshots.py [PART ...]     all pictures into build/screenshots, or those whose name has a PART
    python .ci/screenshots.py --readme       docs/page.png alone

The runs are real and small: the recorded one, and one training of each other kind, made where build/screenshot-runs has
none (some minutes on one core). build/screenshots/index.html has all pictures side by side.
"""

import hashlib
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bench.page import find_chromium, find_playwright, serve_page

ROOT = Path(__file__).resolve().parents[1]
FOLDER, RUNS = ROOT / "build" / "screenshots", ROOT / "build" / "screenshot-runs"
README = ROOT / "docs" / "page.png"
KEY = b"lab-sources"
"""Of the text in README's picture that says what it was drawn with."""
PICTURED = (
    ".streamlit/config.toml",
    "dashboard/components/figure.js",
    "dashboard/components/slider.css",
    "dashboard/components/slider.js",
    "dashboard/components/story.py",
    "dashboard/components/wall.css",
    "dashboard/components/wall.js",
    "dashboard/components/wall.py",
    "dashboard/components/wall_figures.py",
    "data/recorded/digits/events.db",
    "lab/charts/genotype.py",
    "lab/charts/layout.py",
    "lab/charts/probabilities.py",
    "lab/charts/style.py",
)
"""What README's picture shows is drawn by these: it is out of date when one of them has changed."""
WIDTHS = {"wide": (1920, 1080), "1024": (1024, 768), "390": (390, 844)}
THEMES = ("light", "dark")
TALLEST = 9_000
"""Pixels of a picture."""
MILLISECONDS = 120_000
SMALL = "--init-channels 4 --batch-size 32 --seed 0 --threads 1 --device cpu"
TRAININGS = {
    "darts": f"train aso-se --space darts --dataset digits --train-limit 300 {SMALL} --warmup-epochs 1 "
    "--arch-training-epochs 2 --weight-training-epochs 2 --total-cycles 2 --retraining-epochs 2",
    "agent": f"train agent --dataset digits --train-limit 600 {SMALL} --epochs 8",
    "multitask": "train multitask --epochs 3 --seed 0 --threads 1 --device cpu",
    "text": "train text --task joint --epochs 3 --seed 0 --threads 1 --device cpu",
}
"""Name of each run -> what trains it."""
STUDY = (
    "tune --recipe fixed --dataset digits --train-limit 200 --epochs 1 --init-channels 4 --threads 1 --device cpu "
    "--search weight_lr=1e-3:1e-1:log batch_size=16,32 --n-trials 8 --study study"
)
STEP = 377
"""Of the recorded run, for a picture in the middle of a change."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A page as an address shows it."""

    name: str
    path: str
    charts: int = 0
    """Charts that are there at least when it is drawn."""


def views() -> Iterator[View]:
    """Every page, and the live page and the wall for each kind of run."""
    for run in ("digits", *TRAININGS):
        yield View(name=f"live-{run}", path=f"/?run={run}", charts=4)
        yield View(name=f"wall-{run}", path=f"/?run={run}&view=wall", charts=5)
    yield View(name="live-replay", path=f"/?run=digits&step={STEP}&play=1", charts=4)
    yield View(name="wall-replay", path=f"/?run=digits&view=wall&step={STEP}&play=1", charts=5)
    yield View(name="runs", path="/runs?compare=digits&compare=digits-fixed", charts=1)
    yield View(name="studies", path="/studies?study=study", charts=2)
    yield View(name="help", path="/help")


def make_runs() -> None:
    """Copy the recorded runs and train those that are missing."""
    shutil.copytree(ROOT / "data" / "recorded", RUNS, dirs_exist_ok=True)
    for name, words in TRAININGS.items():
        if not (RUNS / name / "report.json").is_file():
            shutil.rmtree(RUNS / name, ignore_errors=True)
            _lab(*words.split(), "--name", name, "--save-dir", str(RUNS))
    if not (RUNS / "study").is_dir():
        _lab(*STUDY.split(), "--outdir", str(RUNS))


def _lab(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "lab", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def take(page: Any, address: str, view: View, size: tuple[int, int], path: Path) -> None:
    """One picture, as tall as the page is."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(address + view.path)
    page.wait_for_selector('[data-testid="stMain"] [data-testid="stElementContainer"]', state="attached")
    _wait_until_drawn(page, view.charts)
    if "view=wall" not in view.path:
        # The page scrolls inside itself: what is out of sight is not drawn.
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": size[0], "height": max(size[1], min(tall, TALLEST))})
        _wait_until_drawn(page, view.charts)
    page.wait_for_timeout(700)
    page.screenshot(path=str(path))


def _wait_until_drawn(page: Any, charts: int) -> None:
    page.wait_for_function(
        """(least) => {
          const seen = [...document.querySelectorAll(".lab-chart")].filter((chart) => {
            const { top, bottom } = chart.getBoundingClientRect();
            return chart.checkVisibility() && bottom > 0 && top < innerHeight;
          });
          return seen.every((chart) => chart.querySelector(".main-svg"))
            && document.querySelectorAll(".lab-chart").length >= least
            && !document.querySelector('[data-testid="stSkeleton"]');
        }""",
        arg=charts,
        timeout=MILLISECONDS,
    )


def take_all(parts: Sequence[str]) -> int:
    """Every picture whose name has one of `parts`, all for none; how many."""
    make_runs()
    FOLDER.mkdir(parents=True, exist_ok=True)
    taken = 0
    with serve_page(RUNS) as address, find_playwright()() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(""), args=["--no-sandbox"])
        for theme in THEMES:
            page = browser.new_context(color_scheme=theme).new_page()
            page.set_default_timeout(MILLISECONDS)
            for view in views():
                for width, size in WIDTHS.items():
                    name = f"{view.name}-{width}-{theme}"
                    if not parts or any(part in name for part in parts):
                        take(page, address, view, size, FOLDER / f"{name}.png")
                        taken += 1
            page.context.close()
        browser.close()
    _write_index()
    return taken


def _write_index() -> None:
    """A page with all pictures that are there."""
    shown = "\n".join(
        f'<figure><a href="{path.name}"><img src="{path.name}" loading="lazy"></a>'
        f"<figcaption>{path.stem}</figcaption></figure>"
        for path in sorted(FOLDER.glob("*.png"))
    )
    style = "body{font:14px sans-serif;display:flex;flex-wrap:wrap;gap:12px}figure{margin:0}img{height:420px}"
    FOLDER.joinpath("index.html").write_text(f"<meta charset=utf-8><style>{style}</style>\n{shown}\n", encoding="utf-8")


def take_readme() -> None:
    """The wall in the middle of a change of the recorded run, with the digest of what drew it."""
    view = View(name="readme", path=f"/?run=digits&view=wall&step={STEP}", charts=5)
    with serve_page(ROOT / "data" / "recorded") as address, find_playwright()() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(""), args=["--no-sandbox"])
        page = browser.new_context(color_scheme="light").new_page()
        take(page, address, view, WIDTHS["wide"], README)
        browser.close()
    README.write_bytes(with_text(README.read_bytes(), KEY, sources_digest().encode()))


def sources_digest() -> str:
    """Of all files that the picture is drawn with."""
    digest = hashlib.sha256()
    for name in PICTURED:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()


def with_text(png: bytes, key: bytes, text: bytes) -> bytes:
    """A PNG with a text chunk behind its header."""
    body = b"tEXt" + key + b"\0" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header = 8 + 25
    return png[:header] + chunk + png[header:]


def text_of(png: bytes, key: bytes) -> bytes | None:
    """The text chunk `key` of a PNG; None where it has none."""
    place = 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if kind == b"tEXt" and body.startswith(key + b"\0"):
            return body[len(key) + 1 :]
        place += 12 + length
    return None


def main(words: Sequence[str]) -> None:
    """Take the pictures that the words name."""
    if list(words) == ["--readme"]:
        take_readme()
        return
    sys.stdout.write(f"{take_all(words)} pictures in {FOLDER}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
