"""What a person says of a run: a title, a note, whether it is archived; and the way to delete a run.

A label is a small file beside the run's database, which its trainer alone writes.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.base import StoreError, parse_json, require
from lab.store import launch
from lab.store.reader import RunReader
from lab.store.schema import DATABASE

LABEL = "label.json"
"""File of a run's folder."""
MOST_LETTERS = 200
"""Of a title."""
MOST_NOTE_LETTERS = 4_000
"""Of a note."""
LARGEST_FILE = 65_536
"""Bytes; a note of the greatest length has less."""


@dataclass(frozen=True, kw_only=True)
class RunLabel:
    """What a person says of a run."""

    title: str = ""
    """What the run is called in lists, beside the name of its folder; one line, at most `MOST_LETTERS` letters."""
    note: str = ""
    """At most `MOST_NOTE_LETTERS` letters."""
    archived: bool = False
    """Whether the list of runs leaves it out unless asked."""

    def __post_init__(self) -> None:
        line = len(self.title) <= MOST_LETTERS and len(self.title.splitlines()) <= 1
        expected = f"a title of one line and at most {MOST_LETTERS} letters"
        require(line, expected=expected, got=f"{len(self.title)} letters", hint="write the rest into the note")
        expected = f"a note of at most {MOST_NOTE_LETTERS:,} letters"
        got = f"{len(self.note):,} letters"
        require(len(self.note) <= MOST_NOTE_LETTERS, expected=expected, got=got, hint="write a shorter one")


def read_label(run_dir: Path | str) -> RunLabel:
    """The label of a run; an empty one where it has none.

    Raises:
        StoreError: the file cannot be read or is no label.
        ConfigError: its title or note is too long.
    """
    path = Path(run_dir) / LABEL
    hint = "delete the file, or save the label anew"
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8")
    except FileNotFoundError:
        return RunLabel()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"a readable label at {path}", str(error), hint) from error
    try:
        found = parse_json(text) if len(raw) <= LARGEST_FILE else None
    except ValueError as error:
        raise StoreError(f"a label as JSON at {path}", str(error), hint) from error
    kinds = {"title": str, "note": str, "archived": bool}
    if not isinstance(found, Mapping) or any(type(found.get(name)) is not kind for name, kind in kinds.items()):
        raise StoreError(f"a label with {', '.join(kinds)} at {path}", f"{text[:80]!r}", hint)
    return RunLabel(**{name: found[name] for name in kinds})


def write_label(run_dir: Path | str, label: RunLabel) -> None:
    """Put the label of a run into place; who reads at the same time sees the old one or the new one, whole.

    Raises:
        StoreError: no run in that folder, or a folder that cannot be written.
    """
    run = Path(run_dir)
    _check_run(run)
    temporary = run / f".label-{uuid.uuid4().hex}"
    try:
        temporary.write_text(json.dumps(asdict(label), ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, run / LABEL)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"a run folder {run} that can be written", str(error), "grant write permission") from error


def delete_run(run_dir: Path | str) -> None:
    """Delete a run with its checkpoints.

    Its folder is hidden first, so that nobody sees half of it.

    Raises:
        StoreError: the run is running, there is none, or the folder cannot be deleted.
    """
    run = Path(run_dir)
    state = launch.state(run)
    if state is None:
        _check_run(run)
    if (RunReader(run).state() if state is None else state[0]) in ("starting", "running"):
        raise StoreError(f"a run that has ended in {run}", "a running one", "stop it first")
    hidden = run.with_name(f".deleted-{uuid.uuid4().hex}")
    try:
        os.rename(run, hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise StoreError(f"a run folder {run} that can be deleted", str(error), "grant write permission") from error


def _check_run(run: Path) -> None:
    if not (run / DATABASE).is_file():
        raise StoreError(f"a run in {run}", f"no {DATABASE} there", "give the folder of a run")
