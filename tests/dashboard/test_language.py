"""The page in German and Chinese: what it shows in both alike was stored, and the rest was said in neither."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import ask, slider
from components.charted import charted, charted_figure, charted_rows
from components.language import say, say_error
from components.moment import asked_moment
from components.typeset import typeset
from each_kind import write_runs
from google.protobuf.json_format import MessageToDict

from lab.base import ConfigError
from lab.charts import PRIMITIVE_STYLES, compare_figure, make_series
from lab.cli.serve import dashboard_server, free_port
from lab.store import RunReader

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ROOT / "dashboard" / "components"
PAGES = ("live digits", "wall digits", "live evolving", "live tasks", "live sentences", "runs", "studies", "help")
WORD = re.compile(r"[A-Za-z]{3}")
SAME = (
    "NaN",
    "KiB",
    "MiB",
    "GiB",
    "GFLOP",
    "softmax",
    "journal",
    "widen",
    "features.conv",
    *(style.label for style in PRIMITIVE_STYLES.values()),
)
"""Words that are no language's, and the labels of primitives."""
CODE = re.compile(r"%\{[^}]*\}|<[^>]*>|:material/\w+:|:\w+-badge|^[A-Z]+(_[A-Z]+)*$")
"""Places and tags of Plotly, icons and badges of Streamlit, and its own constants."""


def strings(value: Any) -> Iterator[str]:
    """All texts in plain data, names of fields too."""
    if isinstance(value, dict):
        yield from (str(key) for key in value)
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


NOT_SHOWN = frozenset(
    ("arrowData", "color", "columns", "componentName", "formId", "icon", "id", "language", "url", "widgetId", "type")
) | {"jsContent", "cssContent", "htmlContent", "queryParamKey"}
"""Fields of Streamlit's messages that nobody reads on the page."""
FIGURE_TEXTS = frozenset(("text", "name", "hovertemplate", "ticktext", "customdata", "hovertext"))


def message_texts(value: Any, key: str = "") -> Iterator[str]:
    """What a person reads of a message of Streamlit, or hears: data of a component in it too."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name not in NOT_SHOWN:
                yield from message_texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from message_texts(each, key)
    elif isinstance(value, str):
        if key == "json":
            yield from component_texts(json.loads(value))
        else:
            yield value


def component_texts(data: Any) -> Iterator[str]:
    for key, value in data.items():
        if key == "figure":
            yield from figure_texts(json.loads(value))
        elif key == "panels":
            for panel in value:
                yield from component_texts(panel)
        elif key not in ("view", "area", "id", "run", "live", "verdict"):
            yield from (text for text in strings(list(value.values()) if isinstance(value, dict) else value))


def figure_texts(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from figure_texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from figure_texts(each, key)
    elif isinstance(value, str) and key in FIGURE_TEXTS:
        yield value


def block_texts(block: Any) -> Iterator[str]:
    for child in block.children.values():
        if child.proto is not None:
            yield from message_texts(MessageToDict(child.proto))
        if hasattr(child, "children"):
            yield from block_texts(child)
        elif child.type in ("arrow_data_frame", "table"):
            yield from map(str, child.value.columns)
            yield from (str(cell) for cell in child.value.to_numpy().ravel())


def page_texts(page: Any) -> set[str]:
    """All that the page shows now, line by line."""
    found = [text for block in (page.app.main, page.app.sidebar) for text in block_texts(block)]
    plain = (re.sub(r"\\(\W|_)", r"\1", text).replace("\u2060", "") for text in found)
    return {line.strip() for text in plain for line in re.split(r"\n|<br>", text) if line.strip()}


def stored_texts(root: Path) -> set[str]:
    """All texts that the runs hold: names, settings, reasons."""
    found: set[str] = {path.name for path in root.iterdir()} | {str(root)}
    for path in root.iterdir():
        reader = RunReader(path)
        # A group of metrics is named after the first part of their names.
        found |= {part for name in reader.names() for part in (name, name.split("/")[0])}
        found |= set(strings(reader.config()))
        for event in reader.events().events:
            found |= set(strings(typeset(event).payload)) | {event.kind}
    return found


def foreign_texts(shown: set[str], stored: set[str]) -> list[str]:
    """Those in which a word is left when what runs hold is taken away."""
    order = sorted((text for text in stored if WORD.search(text)), key=len, reverse=True)
    left = []
    for text in shown:
        rest = CODE.sub("", text)
        for known in (*order, *SAME):
            rest = rest.replace(known, "")
        if WORD.search(rest):
            left.append(text)
    return sorted(left)


def open_page(page: Any, name: str) -> set[str]:
    kind, _, run = name.partition(" ")
    page.app.switch_page(f"app_pages/{'live' if kind == 'wall' else kind}.py")
    page.app.query_params.clear()
    if run:
        page.app.session_state["run"] = run
    page.open(run or None, **({"view": "wall"} if kind == "wall" else {}))
    return page_texts(page)


def test_nothing_that_the_page_says_is_the_same_in_german_and_chinese(
    page: Any, root: Path, recorder_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_runs = write_runs(root, recorder_class)
    shown: dict[str, dict[str, set[str]]] = {}
    for language in ("de", "zh"):
        monkeypatch.setenv("LAB_LANG", f"{language}.UTF-8")
        shown[language] = {name: open_page(page, name) for name in PAGES}
    stored = stored_texts(root)
    for run in open_runs:
        run.finish()
    found = {name: foreign_texts(shown["de"][name] & shown["zh"][name], stored) for name in PAGES}
    assert found == {name: [] for name in PAGES}
    assert {name for name in PAGES if len(shown["de"][name]) > 40} == set(PAGES)
    chinese = {name: [text for text in shown["zh"][name] if re.search("[\u4e00-\u9fff]", text)] for name in PAGES}
    assert all(len(texts) > 30 for texts in chinese.values())


def test_numbers_stand_in_what_charts_have_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LANG", "de")
    assert charted("Mutation 3 at step 1,480: ✔ accepted") == "Mutation 3 bei Schritt 1,480: ✔ angenommen"
    assert charted("edge 0→2: skip → conv 3×3; edge 1→2: conv 3×3 → skip") == (
        "Kante 0→2: skip → conv 3×3; Kante 1→2: conv 3×3 → skip"
    )
    assert charted("step (showing 2,000 of 9,000 points; off the axis: 3)") == (
        "Schritt (2,000 von 9,000 Punkten gezeigt; außerhalb der Achse: 3)"
    )
    assert charted("retraining, cycle 2<br>steps 10 to 20<br>planned 3 epochs from epoch 4<extra></extra>") == (
        "Nachtraining, Zyklus 2<br>Schritte 10 bis 20<br>geplant 3 Epochen ab Epoche 4<extra></extra>"
    )
    # A class or a layer that has no entry stays, though a form of the catalogue is like it.
    assert charted("bottle of wine") == "bottle of wine"


def test_a_table_of_charts_keeps_what_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"status": "✔ accepted", "reason": "rejected"}]
    assert charted_rows(rows, "status") == rows
    monkeypatch.setenv("LAB_LANG", "zh")
    assert charted_rows(rows, "status") == [{"状态": "✔ 已采纳", "原因": "rejected"}]


def test_names_of_runs_and_metrics_stay_in_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    series = make_series("health", [0, 1, 2], [0.5, float("nan"), 0.75])
    figure = compare_figure([("health", series)], y_title="loss")
    monkeypatch.setenv("LAB_LANG", "de")
    data, layout = charted_figure(figure, own_names=True)
    assert {trace["name"] for trace in data} == {"health", "health (Rohwerte)", "health: NaN oder Inf (1)"}
    assert layout["yaxis"]["title"]["text"] == "loss"
    assert layout["xaxis"]["title"]["text"] == "Schritt"
    assert "Zustandswert" in {trace["name"] for trace in charted_figure(figure)[0]}


def test_an_error_of_the_page_is_told_in_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ConfigError("a whole number", "'x'", "remove it")
    assert say_error(error) == str(error) == "expected a whole number, got 'x'. Remove it."
    monkeypatch.setenv("LAB_LANG", "de")
    with pytest.raises(ConfigError) as refusal:
        asked_moment({"step": "x"}, 0.0)
    assert say_error(refusal.value).startswith("erwartet: eine ganze Zahl als step in der Adresse; erhalten: 'x'. ")


def test_each_text_of_a_script_is_handed_to_it() -> None:
    for part, name in ((ask, "ask.js"), (slider, "slider.js")):
        script = (COMPONENTS / name).read_text(encoding="utf-8")
        used = set(re.findall(r"texts\.(\w+)", script)) | {
            word
            for row in re.findall(r"const \{([^}]*)\} = data\.texts", script)
            for word in row.replace(",", " ").split()
        }
        assert used, name
        assert used <= set(part.TEXTS), name


def test_a_language_that_the_page_does_not_have_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_LANG", "fr_FR.UTF-8")
    with (
        pytest.raises(ConfigError, match=r"one of en \(English\), de \(German\), zh \(Chinese\), got 'fr_FR.UTF-8'"),
        dashboard_server(free_port(), tmp_path),
    ):
        pass


def test_the_script_on_its_own_says_which_languages_there_are(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LANG", "fr")
    assert "LAB_LANG to be one of en (English), de (German), zh (Chinese), got 'fr'" in page.open().text
    assert not page.app.metric


def test_a_text_without_an_entry_is_said_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LANG", "de")
    assert say("{count} of no catalogue", count=3) == "3 of no catalogue"
    assert say("Step") == "Schritt"


def test_the_browser_is_told_the_language_of_the_page(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's document is in English for a screen reader."""

    def told() -> list[dict[str, str]]:
        found = [each.proto for each in page.tick().app.get("bidi_component")]
        return [json.loads(proto.json) for proto in found if proto.component_name == "lab_document"]

    monkeypatch.setenv("LAB_LANG", "zh")
    assert told() == [{"language": "zh"}]
    monkeypatch.delenv("LAB_LANG")
    assert told() == []
