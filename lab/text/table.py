"""A table of sentences: TSV, CSV or JSON lines, read and checked row by row."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import DataError
from lab.datasets import SENTENCES
from lab.text.config import TextConfig
from lab.text.sentences import TITLE, write_sentences

SUFFIXES = (".tsv", ".csv", ".jsonl")
OTHER = "other"
"""Class of the sentences that do not have `label_value`."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One row."""

    text: str
    label: int
    """Number of its class; 0 where there are no classes."""
    span: tuple[int, int] | None
    """First character and the one behind the last; None where it has no span."""
    fold: str
    """Value of the fold column; empty without one."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """All sentences of a table."""

    title: str
    synthetic: bool
    """Whether a program wrote them."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of their numbers; none where the model says no class."""
    sentences: tuple[Sentence, ...]
    further_spans: int
    """Spans that are not the first one of their sentence, and are left out."""


def read_table(name: str, config: TextConfig) -> TextTable:
    """The sentences of `--dataset name`.

    Args:
        name: path of a table, or sentences for those that a program writes.
        config: its columns.

    Raises:
        DataError: no such file, another format, a missing column, a span outside its sentence, a single class, or no
            span at all.
    """
    path = Path(name).expanduser()
    synthetic = name == SENTENCES
    if synthetic:
        where, rows = TITLE, list(enumerate(write_sentences(), start=1))
    else:
        where, rows = path.name, list(_read(path))
    if not rows:
        raise DataError("a table with sentences", f"none in {where}", "give a table with a row for each sentence")
    wanted = [config.text_column]
    wanted += [config.label_column] if config.has_classes else []
    wanted += [config.span_column] if config.has_spans else []
    wanted += [config.fold_column] if config.fold_column else []
    _require_columns(where, rows, wanted)
    labels = [row[config.label_column] for _, row in rows] if config.has_classes else []
    classes = _classes(labels, config, where)
    sentences, further = [], 0
    for index, (line, row) in enumerate(rows):
        text = row[config.text_column]
        if not text.strip():
            raise DataError("a sentence in every row", f"none in line {line} of {where}", "remove that row")
        spans = (
            _spans(row[config.span_column], config, len(text), f"line {line} of {where}") if config.has_spans else []
        )
        further += len(spans[1:])
        sentences.append(
            Sentence(
                text=text,
                label=classes.index(_label(labels[index], config)) if classes else 0,
                span=spans[0] if spans else None,
                fold=row[config.fold_column] if config.fold_column else "",
            )
        )
    if config.has_spans and not any(sentence.span for sentence in sentences):
        of_name = f" of the name {config.span_name!r}" if config.span_name else ""
        raise DataError(f"spans{of_name} in column {config.span_column}", f"none in {where}", "give another column")
    return TextTable(
        title=where, synthetic=synthetic, classes=classes, sentences=tuple(sentences), further_spans=further
    )


def _read(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of each line."""
    if path.suffix.lower() not in SUFFIXES:
        expected = f"{SENTENCES}, or the path of a table that ends in {', '.join(SUFFIXES)}"
        raise DataError(expected, str(path), "give --dataset such a path")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".jsonl":
                yield from _json_rows(file, path.name)
            else:
                yield from _separated_rows(file, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("a table of UTF-8 text that can be read", f"{path}: {error}", "give another file") from error


def _separated_rows(file: Any, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    # A quotation mark in TSV is one of the sentence: only tabs and line ends separate there.
    tabs = path.suffix.lower() == ".tsv"
    reader = csv.DictReader(
        file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL, strict=not tabs
    )
    for row in reader:
        if None in row or None in row.values():
            got = f"line {reader.line_num} of {path.name} with {'more' if None in row else 'fewer'}"
            raise DataError(f"{len(reader.fieldnames or ())} values in every row", got, "repair that line")
        yield reader.line_num, row


def _json_rows(file: Any, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError("a JSON object in every line", f"line {number} of {name}: {error}", "repair it") from error
        if not isinstance(row, dict) or any(isinstance(value, dict | list) for value in row.values()):
            got = f"line {number} of {name} without that"
            raise DataError("a JSON object of texts and numbers in every line", got, "write lists as one text")
        yield number, {key: "" if value is None else str(value) for key, value in row.items()}


def _require_columns(where: str, rows: list[tuple[int, dict[str, str]]], wanted: list[str]) -> None:
    for line, row in rows:
        missing = [name for name in wanted if name not in row]
        if missing:
            got = f"only {', '.join(row) or 'nothing'} in line {line} of {where}"
            raise DataError(f"the columns {', '.join(wanted)}", got, "name them with --text-column and the like")


def _label(value: str, config: TextConfig) -> str:
    if not config.label_value:
        return value
    return config.label_value if config.label_value in value.split("|") else OTHER


def _classes(labels: list[str], config: TextConfig, where: str) -> tuple[str, ...]:
    """The classes in the order of their names; with `label_value` the other one is first.

    Raises:
        DataError: there is but one.
    """
    if not config.has_classes:
        return ()
    found = {_label(value, config) for value in labels}
    if len(found) < 2:
        wanted = f"at least two classes in column {config.label_column}"
        if config.label_value:
            wanted = f"sentences with and without {config.label_value} in column {config.label_column}"
        raise DataError(wanted, f"only {found.pop()!r} in {where}", "give another --label-column or --label-value")
    return (OTHER, config.label_value) if config.label_value else tuple(sorted(found))


def _spans(cell: str, config: TextConfig, length: int, where: str) -> list[tuple[int, int]]:
    """The spans of one sentence that are asked for, in their order.

    Raises:
        DataError: one that is not start:end, or lies outside the sentence.
    """
    found = []
    for entry in filter(None, (part.strip() for part in cell.split(";"))):
        *name, start, end = entry.rsplit(":", 2)
        if not (start.isdecimal() and end.isdecimal()):
            raise DataError("spans as start:end or name:start:end", f"{entry!r} in {where}", "repair that cell")
        if not int(start) < int(end) <= length:
            expected = f"spans inside their sentence of {length} characters"
            raise DataError(expected, f"{entry!r} in {where}", "count characters from 0, the end exclusive")
        if not config.span_name or name == [config.span_name]:
            found.append((int(start), int(end)))
    return sorted(found)


def counts(table: TextTable) -> Mapping[str, int]:
    """Sentences of each class, or with and without a span where there are no classes."""
    if not table.classes:
        spans = sum(sentence.span is not None for sentence in table.sentences)
        return {"span": spans, "no span": len(table.sentences) - spans}
    return {
        name: sum(sentence.label == number for sentence in table.sentences) for number, name in enumerate(table.classes)
    }
