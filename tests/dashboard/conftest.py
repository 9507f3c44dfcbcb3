"""Stores as the trainer writes them, and the page over them."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from lab.space import NB201, Genotype
from lab.store import (
    ControlEvent,
    GenotypeEvent,
    MutationEvent,
    PhaseEvent,
    RunWriter,
    StabilityEvent,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "dashboard"), str(Path(__file__).parent)]

PLAIN = Genotype(NB201, ("nor_conv_3x3",) * 6)
CHANGED = PLAIN.replace(NB201.edges[1], "skip_connect")


def genotype_event(genotype: Genotype, reason: str, **fields: Any) -> GenotypeEvent:
    return GenotypeEvent(
        genotype=genotype.to_json(),
        argmax_genotype=PLAIN.to_json(),
        edges=[list(edge) for edge in NB201.edges],
        primitives=list(NB201.primitives),
        probabilities=[[0.1, 0.2, 0.1, 0.5, 0.1] for _ in NB201.edges],
        entropy=[1.2] * 6,
        skip_share=0.0,
        dominance=0.3,
        reason=reason,
        **fields,
    )


def mutation_event(number: int, status: str, **fields: Any) -> MutationEvent:
    return MutationEvent(
        number=number,
        status=status,
        old=PLAIN.to_json(),
        new=CHANGED.to_json(),
        edits=[[*edit.edge, edit.old, edit.new] for edit in PLAIN.diff(CHANGED)],
        **{"difference": 2e-7, "requested": "schedule", "reason": "made up for a test", **fields},
    )


class Recorder:
    """A run that a test writes by hand: made-up numbers through the real writer."""

    def __init__(self, root: Path, name: str, **config: Any) -> None:
        self.run = RunWriter(root, name, {"dataset_title": "made up", "synthetic": True, **config})
        self.path = self.run.run_dir

    def steps(self, first: int, count: int, **values: float) -> None:
        for step in range(first, first + count):
            defaults = {"loss": 2.0 - 0.01 * step, "accuracy": 0.01 * step, "health": 0.9, "temperature": 3.0}
            self.run.scalars(step, {**defaults, **values})
        self.run.flush()

    def epoch(self, step: int, epoch: int) -> None:
        values = {"epoch": epoch, "decision/loss": 0.5, "decision/accuracy": 0.75}
        self.run.scalars(step, {**values, "memory/rss": 3 * 2**28, "memory/tensors": 2**24})
        verdict = StabilityEvent(
            health=0.9, state="improving", oscillation=0.0, degradation=0.0, trend=-0.1, reasons=["It falls."]
        )
        self.run.record(step, verdict)
        self.run.flush()

    def phase(self, step: int, phase: str) -> None:
        self.run.record(step, PhaseEvent(phase=phase, epoch=step // 10, epochs=1, cycle=0))
        self.run.flush()

    def record(self, step: int, record: Any) -> None:
        self.run.record(step, record)
        self.run.flush()

    def answer(self, step: int, command: str, *, done: bool = True, text: str = "") -> None:
        self.record(step, ControlEvent(command=command, arguments={}, done=done, text=text))

    def search(self) -> None:
        """Warm-up, an architecture phase, two genotypes with a mutation between them."""
        self.phase(0, "warmup")
        self.steps(0, 10)
        self.epoch(10, 0)
        self.phase(10, "arch_training")
        self.record(10, genotype_event(PLAIN, "epoch"))
        self.steps(10, 10)
        self.phase(20, "mutation")
        self.record(20, mutation_event(1, "applied", loss_before=0.5))
        self.record(20, genotype_event(CHANGED, "mutation"))
        self.phase(20, "weight_retraining")
        self.steps(20, 10)
        self.epoch(30, 2)


@pytest.fixture(scope="session")
def recorder_class() -> type[Recorder]:
    """For a run that several tests of a file look at; who makes one ends it."""
    return Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders in tmp_path / "runs"; those still open are closed at the end."""
    made: list[Recorder] = []

    def make(name: str = "run", **config: Any) -> Recorder:
        made.append(Recorder(tmp_path / "runs", name, **config))
        return made[-1]

    yield make
    for recorder in made:
        recorder.run.finish()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def dead_run(root: Path) -> Path:
    """A run whose process left without a word at step 30."""
    write_run(root, "dead", "--seconds", "0", "--die", "30", expect=9)
    return root / "dead"


def write_run(root: Path, name: str, *options: str, expect: int = 0) -> None:
    script = Path(__file__).with_name("write_run.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(root), name, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == expect, done.stderr


def apply_patch(old: Any, patch: Any) -> Any:
    """What patch.js does; test_chart_script.py holds that to the same cases."""
    if patch is None:
        return old
    if "=" in patch:
        return patch["="]
    if isinstance(old, dict):
        kept = {name: value for name, value in old.items() if name not in patch["x"]}
        return kept | {name: apply_patch(old.get(name), inner) for name, inner in patch["d"].items()}
    made = old[: patch["k"]]
    for place, inner in patch.get("i", {}).items():
        made[int(place)] = apply_patch(made[int(place)], inner)
    return made + patch["t"]


def letters(markdown: Any) -> str:
    """What Markdown of `words.plain` shows."""
    return re.sub(r"\\(\W|_)", r"\1", str(markdown)).replace("\u2060", "")


class Page:
    """The app over a root of runs, and what it shows."""

    def __init__(self, app: Any, clocks: list[float | None]) -> None:
        self.app = app
        self._clocks = clocks

    def open(self, run: str | None = None, **parameters: str) -> "Page":
        for name, value in {**({"run": run} if run else {}), **parameters}.items():
            self.app.query_params[name] = value
        return self.tick()

    def tick(self) -> "Page":
        """What the live part's clock does."""
        self._clocks.clear()
        self.app.run()
        assert not self.app.exception, self.app.exception
        return self

    def unfold(self, key: str) -> "Page":
        """Open the place that `folded` names so."""
        self.app.session_state[f"folded_{key}"] = True
        return self.tick()

    def press(self, command: str) -> "Page":
        self.app.button(key=f"press_{command}").click()
        return self.tick()

    @property
    def kpis(self) -> dict[str, str]:
        return {metric.label: metric.value for metric in self.app.metric}

    @property
    def tables(self) -> list[Any]:
        """The tables: those that scroll, then those of sentences, whose texts are read as Markdown."""
        told = [table.value.map(letters).rename(columns=letters) for table in self.app.table]
        return [*(frame.value for frame in self.app.dataframe), *told]

    @property
    def charts(self) -> dict[str, dict[str, Any]]:
        """Drawn figures by key, with the label for screen readers under `label`."""
        found = {}
        for element in self.app.get("bidi_component"):
            if element.proto.component_name == "lab_chart":
                data = json.loads(element.proto.json)
                key = element.proto.id.rsplit("-", 1)[-1].removeprefix("figure_")
                found[key] = {**self.figure(data), "label": data["label"], "view": data["view"]}
        return found

    def figure(self, data: dict[str, Any]) -> Any:
        """The figure that a chart is told, whole or as a patch of a base."""
        told = json.loads(data["figure"])
        if not data["base"]:
            return told
        kept = [element.proto for element in self.app.get("bidi_component")]
        bases = [json.loads(proto.bytes) for proto in kept if proto.component_name == "lab_base"]
        return apply_patch(next(base["figure"] for base in bases if base["id"] == data["base"]), told)

    def values(self, chart: str, trace: int, axis: str = "y") -> list[float]:
        """Numbers of one trace of a chart."""
        packed = self.charts[chart]["data"][trace][axis]
        if isinstance(packed, list):
            return packed
        return list(np.frombuffer(base64.b64decode(packed["bdata"]), dtype=np.dtype(packed["dtype"])))

    @property
    def text(self) -> str:
        """All text of the page as a reader sees it: without backslashes and word joiners that keep Markdown quiet."""
        kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "code")
        raw = "\n".join(str(element.value) for kind in kinds for element in self.app.get(kind))
        return re.sub(r"\\(\W|_)", r"\1", raw).replace("\u2060", "")

    @property
    def clocks(self) -> list[float]:
        """Seconds between two ticks of each live part."""
        return [interval for interval in self._clocks if interval is not None]

    def enabled(self, command: str) -> bool:
        return not self.app.button(key=f"press_{command}").disabled


@pytest.fixture
def page(root: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    return make_page(root, monkeypatch)


@pytest.fixture
def second_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The page in another browser tab."""
    return make_page(root, monkeypatch)


def make_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    import streamlit as st
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("LAB_RUNS", str(root))
    monkeypatch.setattr(sys, "argv", ["app.py"])
    monkeypatch.chdir(ROOT)
    clocks: list[float | None] = []
    fragment = st.fragment

    def clocked(*arguments: Any, run_every: float | None = None, **options: Any) -> Any:
        clocks.append(run_every)
        return fragment(*arguments, run_every=run_every, **options)

    monkeypatch.setattr(st, "fragment", clocked)
    return Page(AppTest.from_file(str(ROOT / "dashboard" / "page.py"), default_timeout=60), clocks)


@pytest.fixture
def ranked_genotype() -> GenotypeEvent:
    return genotype_event(PLAIN, "epoch", rank={"cifar10-valid": 1234})


@pytest.fixture
def rejection() -> MutationEvent:
    return mutation_event(1, "rejected", loss_after=0.9)


@pytest.fixture
def patched() -> Callable[[Any, Any], Any]:
    """What the browser makes of a base and a patch."""
    return apply_patch


@pytest.fixture
def patch_cases() -> list[tuple[Any, Any]]:
    """Plain data before and after a change."""
    return [
        (1, 2),
        (1, "1"),
        ("abcdef", "abcxyz"),
        ("abc", "abc and more"),
        ([1, 2, 3], [1, 2, 4, 5]),
        ([1, 2, 3], []),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 3}, {"a": 4}]),
        ([{"a": 1}, {"a": 2}], [{"a": 2}]),
        ({"a": 1, "b": [1]}, {"b": [2], "c": None}),
        ({"a": {"x": "long text", "y": None}}, {"a": {"x": "long word", "y": 0}}),
        ({"a": None}, {"a": {"=": 1}}),
        ([], [[1], [2]]),
    ]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: Path) -> Iterator[Browser]:
    """A headless Chromium; for tests marked `browser`."""
    found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield found
    found.close()
