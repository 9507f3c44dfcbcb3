"""Each text of the page stands in the catalogue, in every language, and nothing else does."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab.base import LANGUAGES

PLACES = re.compile(r"%?\{[^{}]*\}")
WORD = re.compile(r"[A-Za-z]{2}")
SHOWN: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("caption", "error", "info", "markdown", "subheader", "success", "warning", "write"), (0,)),
    **dict.fromkeys(("badge", "button", "download_button", "expander", "form_submit_button", "link_button"), (0,)),
    **dict.fromkeys(
        ("checkbox", "metric", "multiselect", "number_input", "pills", "popover", "segmented_control"), (0,)
    ),
    **dict.fromkeys(("radio", "select_slider", "selectbox", "slider", "text_area", "text_input", "toggle"), (0,)),
    **dict.fromkeys(("LinkColumn", "TextColumn", "NumberColumn", "series_style"), (0,)),
    **dict.fromkeys(("tabs", "header", "title", "toast", "spinner"), (0,)),
    "progress": (1,),
    "card": (0, 1),
    "figure": (3,),
    "curve": (3,),
}
"""What shows a text -> at which positions."""
SHOWN_KEYWORDS = frozenset({"alt", "display_text", "help", "label", "now", "placeholder", "text", "title", "y_title"})
"""Arguments that are shown, whatever is called."""
SAYS = ("say", "later")
SCRIPT_TEXT = re.compile(r"""(?:textContent|title|placeholder)\s*=\s*["'`][^"'`]*[A-Za-z]{2}|aria-label",\s*["'`]""")


def called(node: ast.AST) -> str:
    """Last name of what is called; empty where nothing is."""
    return ast.unparse(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""


def literals(node: ast.AST) -> Iterator[str]:
    """Texts that stand bare in an argument."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.Constant):
                yield str(part.value)
    elif isinstance(node, ast.IfExp | ast.BoolOp | ast.BinOp):
        for part in ast.iter_child_nodes(node):
            yield from literals(part)
    elif called(node) == "plain":
        yield from literals(node.args[0])  # type: ignore[attr-defined]


def bare_texts(path: str, source: str) -> list[str]:
    """What a page shows in English whatever its language is."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = called(node)
        if not isinstance(node, ast.Call) or name in ("set_page_config", *SAYS):
            continue
        shown = [node.args[place] for place in SHOWN.get(name, ()) if place < len(node.args)]
        shown += [word.value for word in node.keywords if word.arg in SHOWN_KEYWORDS]
        texts = [text for argument in shown for text in literals(argument) if WORD.search(text)]
        found += [f"{path}:{node.lineno}: {name} shows {text!r}: pass it through say()" for text in texts]
    return found


def said_texts(source: str) -> Iterator[str]:
    """The texts in `say(...)` and `later(...)`."""
    for node in ast.walk(ast.parse(source)):
        if called(node) in SAYS and isinstance(node, ast.Call) and node.args:
            first = node.args[0]
            for part in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                if isinstance(part, ast.Constant):
                    yield str(part.value)


def form_of(node: ast.AST) -> str:
    """A text of `lab.charts` with {} where a value stands."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)


@pytest.fixture(scope="module")
def tables(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """File of the catalogue -> text -> language -> text."""
    files = sorted((root / "dashboard" / "languages").glob("*.toml"))
    return {path.name: tomllib.loads(path.read_text(encoding="utf-8")) for path in files}


@pytest.fixture(scope="module")
def said(sources: dict[str, str]) -> set[str]:
    """All that the page says."""
    files = [text for path, text in sources.items() if path.startswith("dashboard/")]
    return {text for source in files for text in said_texts(source)}


def page_texts(tables: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    return [text for name, table in tables.items() if name != "charts.toml" for text in table]


def test_all_that_the_page_says_stands_in_the_catalogue_once(
    tables: dict[str, dict[str, dict[str, str]]], said: set[str]
) -> None:
    known = page_texts(tables)
    assert len(said) > 500
    assert sorted(said - set(known)) == []
    assert sorted(set(known) - said) == []
    assert sorted(text for text in known if known.count(text) > 1) == []


def test_every_text_has_every_language_and_the_same_places(tables: dict[str, dict[str, dict[str, str]]]) -> None:
    others = sorted(set(LANGUAGES) - {"en"})
    for name, table in tables.items():
        for text, told in table.items():
            assert sorted(told) == others, f"{name}: {text}"
            for language, translation in told.items():
                assert translation.strip(), f"{name}: {text}"
                places = sorted(PLACES.findall(text)), sorted(PLACES.findall(translation))
                assert places[0] == places[1], f"{name}: {text}: {language}"


def test_a_chart_over_steps_is_one_over_epochs_in_every_language(tables: dict[str, dict[str, dict[str, str]]]) -> None:
    """The words for the axis are exchanged in the sentence that a screen reader gets."""
    told = {text: each for name, table in tables.items() if name != "charts.toml" for text, each in table.items()}
    over = told["over steps"]
    missing = [
        f"{language}: {text}"
        for text, each in told.items()
        # The help page counts the axes up.
        if re.search("over steps(?!, epochs)", text)
        for language in over
        if over[language] not in each[language]
    ]
    assert missing == []


def chart_literals(sources: Mapping[str, str]) -> set[str]:
    """All texts in `lab.charts`, with {} where a value stands, as figures have them."""
    found = set()
    for path, source in sources.items():
        # A heading begins with the kind of an event.
        if path.startswith(("lab/charts/", "lab/store/")):
            nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant | ast.JoinedStr)]
            found |= set(map(form_of, nodes))
    return found


def test_the_catalogue_of_charts_has_no_text_that_charts_do_not_write(
    tables: dict[str, dict[str, dict[str, str]]], sources: dict[str, str]
) -> None:
    whole = "\n".join(chart_literals(sources)).lower()
    for text in tables["charts.toml"]:
        # What stands between two places comes from one literal, or from a few words one behind the other.
        for part in re.split(r"(?<!%)\{\w+\}", text.replace(":<br>", ": ")):
            for piece in re.split(r"[^A-Za-z'%{}]+", part):
                assert piece.lower() in whole, f"{text}: nothing in lab.charts writes {piece!r}"


def chart_texts(source: str) -> Iterator[str]:
    """What a file of `lab.charts` writes on a figure: titles, names of traces, notes, what stands below the pointer."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (
                form_of(value)
                for key, value in pairs
                if isinstance(key, ast.Constant) and key.value in ("text", "name", "hovertemplate")
            )
        elif isinstance(node, ast.Call):
            words = [word.value for word in node.keywords if word.arg in ("y_title", "label")]
            first = node.args[:1] if called(node) == "note_figure" else []
            yield from map(form_of, [*words, *first])


UNUSED = ("comparison.py", "fates.py", "graph.py", "heat.py", "lines.py", "paths.py", "shares.py", "style.py")
"""Files of `lab.charts` whose figures the page does not show; the styles are names of primitives and phases."""


def test_what_charts_write_on_figures_stands_in_their_catalogue(
    tables: dict[str, dict[str, dict[str, str]]], sources: dict[str, str]
) -> None:
    forms = {re.sub(r"(?<!%)\{\w+\}", "{}", text) for text in tables["charts.toml"]}
    found = {
        text.replace("{}{}", "{}")
        for path, source in sources.items()
        if path.startswith("lab/charts/") and path.rsplit("/", 1)[1] not in UNUSED
        for text in chart_texts(source)
    }
    # A note has its reason on a line of its own; what is not known as a whole is read line by line.
    unknown = [text for text in found if not forms & {text, text.replace(": ", ":<br>", 1)}]
    lines = {line for text in unknown for line in text.split("<br>")}
    words = {line for line in lines if WORD.search(re.sub(r"%?\{[^}]*\}|<[^>]*>", "", line))}
    assert len(found) > 40
    assert sorted(words - forms - {"MiB", "KiB"}) == []


def test_nothing_on_the_page_is_english_whatever_its_language_is(sources: dict[str, str]) -> None:
    found = [
        text for path, source in sources.items() if path.startswith("dashboard/") for text in bare_texts(path, source)
    ]
    assert not found, "\n".join(found)


def test_no_script_of_the_page_has_a_text_of_its_own(texts: dict[str, str]) -> None:
    scripts = {path: text for path, text in texts.items() if path.startswith("dashboard/") and path.endswith(".js")}
    assert len(scripts) >= 6
    found = [f"{path}: {hit.group()}" for path, text in scripts.items() for hit in SCRIPT_TEXT.finditer(text)]
    assert not found, "\n".join(found)


def test_the_rule_sees_a_bare_text_in_each_form() -> None:
    sources = (
        'st.write("No run yet")',
        'st.info(plain(f"Study {name} cannot be read"))',
        'card(say("Alerts"), "What needs attention")',
        'st.dataframe(rows, alt="All rows" if all else say("Some rows"))',
        'st.progress(0.5, f"{share} done")',
        'Kpi(name="step", label="Step")',
    )
    assert all(bare_texts("a.py", source) for source in sources)
    assert bare_texts("a.py", 'st.write(say("No run yet")); st.markdown(f"**{title}**"); st.code("lab demo")') == []
    assert SCRIPT_TEXT.search('place.textContent = "Live page";')
    assert SCRIPT_TEXT.search('made.setAttribute("aria-label", "Wall");')
    assert not SCRIPT_TEXT.search('place.textContent = ""; place.title = word;')
