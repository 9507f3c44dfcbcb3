"""Tables of sentences: three formats, spans and classes, and what is refused."""

import json

import pytest

from lab.base import DataError
from lab.text import TextConfig, read_table

ROWS = [
    {"text": 'he said "no', "label": "b", "spans": "x:3:7;y:0:2", "fold": "0"},
    {"text": "yes, 10:30", "label": "a|c", "spans": "5:10", "fold": "1"},
    {"text": "perhaps", "label": "b", "spans": "", "fold": "1"},
]
BOTH = TextConfig(task="share")


def write(folder, form, rows=ROWS):
    path = folder / f"table.{form}"
    if form == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif form == "csv":
        quoted = [['"' + value.replace('"', '""') + '"' for value in row.values()] for row in rows]
        path.write_text("\n".join(",".join(cells) for cells in [list(rows[0]), *quoted]) + "\n")
    else:
        path.write_text(
            "\n".join("\t".join(cells) for cells in [list(rows[0]), *(row.values() for row in rows)]) + "\n"
        )
    return str(path)


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_every_format_gives_the_same_sentences(tmp_path, form):
    table = read_table(write(tmp_path, form), BOTH)
    assert [each.text for each in table.sentences] == [row["text"] for row in ROWS]
    assert table.classes == ("a|c", "b")
    assert [each.label for each in table.sentences] == [1, 0, 1]
    assert [each.span for each in table.sentences] == [(0, 2), (5, 10), None]
    assert (table.further_spans, table.synthetic, table.title) == (1, False, f"table.{form}")


def test_spans_of_one_name_and_the_two_classes_of_one_value(tmp_path):
    config = TextConfig(task="share", span_name="x", label_value="c", fold_column="fold", test_fold="1")
    table = read_table(write(tmp_path, "tsv"), config)
    assert [each.span for each in table.sentences] == [(3, 7), None, None]
    assert table.classes == ("other", "c")
    assert [each.label for each in table.sentences] == [0, 1, 0]
    assert [each.fold for each in table.sentences] == ["0", "1", "1"]


def test_the_programs_own_sentences_are_called_synthetic():
    table = read_table("sentences", BOTH)
    assert table.synthetic
    assert "synthetic" in table.title
    assert table.classes == ("fault", "normal")


@pytest.mark.parametrize(
    ("change", "config", "match"),
    [
        ({"spans": "0:99"}, BOTH, "spans inside their sentence of 7 characters.*line 4"),
        ({"spans": "3:3"}, BOTH, "spans inside their sentence"),
        ({"spans": "x:y"}, BOTH, "spans as start:end or name:start:end.*'x:y'"),
        ({"text": " "}, BOTH, "a sentence in every row"),
        ({}, TextConfig(label_column="intent"), "the columns text, intent"),
        ({}, TextConfig(task="evidence", span_column="ends"), "the columns text, ends"),
        ({}, TextConfig(label_value="d"), "sentences with and without d in column label"),
        ({}, TextConfig(task="evidence", span_name="z"), "spans of the name 'z'"),
    ],
)
def test_a_row_or_a_column_that_is_wrong_is_named(tmp_path, change, config, match):
    path = write(tmp_path, "tsv", [*ROWS[:2], {**ROWS[2], **change}])
    with pytest.raises(DataError, match=match):
        read_table(path, config)


def test_a_single_class_is_refused(tmp_path):
    rows = [{**row, "label": "a"} for row in ROWS]
    with pytest.raises(DataError, match="at least two classes in column label.*only 'a'"):
        read_table(write(tmp_path, "csv", rows), TextConfig())


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("t.txt", "text\tlabel\n", "ends in .tsv, .csv, .jsonl"),
        ("t.tsv", "text\tlabel\n", "a table with sentences"),
        ("t.tsv", "text\tlabel\na\tb\tc\n", "2 values in every row.*line 2 of t.tsv with more"),
        ("t.tsv", "text\tlabel\na\n", "line 2 of t.tsv with fewer"),
        ("t.jsonl", '{"text": "a"}\n{"text": \n', "a JSON object in every line.*line 2"),
        ("t.jsonl", '{"text": ["a"]}\n', "texts and numbers in every line"),
        ("t.csv", b"text,label\n\xff,a\n", "UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=match):
        read_table(str(path), TextConfig())


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="a table of UTF-8 text"):
        read_table(str(tmp_path / "t.tsv"), TextConfig())
