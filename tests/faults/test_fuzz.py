"""Damaged input of each kind is read as it stands, or refused with one of our errors: soon, and in little memory.

`LAB_FUZZ=20000` asks for so many inputs in all; without it each kind gets a few. The long run writes its counts to
docs/results/fuzz.json.
"""

import contextlib
import csv
import json
import os
import random
import resource
import signal
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lab.base import LabError
from lab.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lab.datasets import DataConfig, load
from lab.space import NB201, Genotype, Table
from lab.state import state_digest
from lab.store import AlertEvent, RunReader, RunWriter, control

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "docs/results/fuzz.json"
ASKED = int(os.environ.get("LAB_FUZZ", "0"))
USUAL = 40
"""Inputs of each kind in the short form."""
LONGEST = 2.0
"""Seconds of processor time after which an input is held to hang."""
MOST_MEMORY = 500 * 2**20
TOKENS = (
    *(b"nan", b"-inf", b"1e999", b"-1", b"9" * 400, b"[" * 2000, b"{", b'"', b"null", b"true", b"\x00", b"\xff\xfe"),
    *(b"\xff" * 8, b"\x00" * 64, (2**63).to_bytes(8, "little"), (2**31).to_bytes(4, "big"), b",", b"\n", b"../../a"),
)


def damaged(data, draw):
    """`data` with one to four changes: bits, bytes, pieces cut out, doubled, moved, tokens put in, a cut end."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 2, 8, 64, 700))
        kind = draw.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = draw.randrange(256)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            data[at:at] = draw.choice(TOKENS)
        elif kind == 5:
            token = draw.choice(TOKENS)
            data[at : at + len(token)] = token
        else:
            data = data[:at]
        if not data:
            break
    return bytes(data)


class CheckpointHalf:
    """One half of a checkpoint; what is accepted is what was written."""

    def __init__(self, folder, suffix):
        state = {"weight": torch.arange(400.0), "rng": {"torch": torch.arange(40, dtype=torch.uint8)}, "lr": 0.1}
        checkpoint = Checkpoint(base={"config": {"seed": 3}}, state=state, epoch=2, step=70, reason="epoch")
        self.path = save_checkpoint(folder, checkpoint).path.with_suffix(suffix)
        self.text = self.path.read_bytes()
        self.wanted = self.read()

    def read(self):
        found = load_checkpoint(self.path)
        return state_digest(found.state), found.epoch, found.step, found.base, found.reason

    def agrees(self, found, _):
        return found == self.wanted


class Database:
    """A run's database. SQLite keeps no checksums of its pages: a number that was changed in place is not found out."""

    def __init__(self, folder):
        with RunWriter(folder, "a", {"recipe": "fixed"}) as run:
            for step in range(300):
                run.scalars(step, {"loss": 1.0 / (1 + step), "accuracy": 0.5})
            run.record(299, AlertEvent(level="info", title="a", text="b" * 500))
        self.path = folder / "a" / "events.db"
        self.text = self.path.read_bytes()

    def read(self):
        reader = RunReader(self.path.parent)
        reader.summary(), reader.config(), reader.attempts(), reader.names(), reader.extent()
        reader.thinned("loss", before=200, until=10**6, points=50)
        return len(reader.scalars()), [event.kind for event in reader.events().events]

    def agrees(self, found, _):
        return True


class ControlFile:
    """A command; what is accepted is what a second reader of JSON finds."""

    text = b'{"command": "set_temperature", "arguments": {"temperature": 0.75}, "sent": 1700000000.5}'

    def __init__(self, folder):
        self.path = folder / control.FOLDER / "00000000000000000001-a.json"
        self.run_dir = folder

    def read(self):
        (command,) = control.poll(self.run_dir)
        return None if command.name == "unreadable" else command

    def agrees(self, found, data):
        if found is None:
            return True
        said = json.loads(data)
        return (said["command"], said["arguments"]) == (found.name, found.arguments)


class AccuracyTable:
    """A table of accuracies; what is accepted is what a plain reader of CSV finds, each value a percentage."""

    def __init__(self, folder):
        self.path = folder / "nb125.csv"
        lines = (ROOT / "data/nb125_digits.csv").read_text().splitlines()
        self.text = "\n".join(",".join(line.split(",")[:3]) for line in lines).encode()

    def read(self):
        return Table.load(self.path)

    def agrees(self, table, data):
        header, *rows = csv.reader(data.decode().splitlines())
        for row in filter(None, rows):
            ops = row[header.index("ops")]
            genotype = Genotype.from_indices(table.space, map(int, ops))
            for column in table.columns:
                value = table.query(genotype, column)
                if value != float(row[header.index(column)]) or not 0.0 <= value <= 100.0:
                    return False
        return True


class Archive:
    """An .npz file, whose zip form has checksums: what is accepted is what was written."""

    def __init__(self, folder):
        self.path = folder / "own.npz"
        draw = np.random.default_rng(0)
        arrays = {f"y_{part}": np.arange(20) % 2 for part in ("train", "test")}
        arrays |= {f"x_{part}": draw.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8) for part in ("train", "test")}
        np.savez_compressed(self.path, **arrays)
        self.text = self.path.read_bytes()
        self.wanted = self.read()

    def read(self):
        bundle = load(DataConfig(name=str(self.path), image_size=8))
        return state_digest([bundle.x_train, bundle.y_train, bundle.x_test, bundle.y_test])

    def agrees(self, found, _):
        return found == self.wanted


class PictureFolder(Archive):
    """A PNG among pictures, a form that has checksums: what is accepted is what was written."""

    def __init__(self, folder):
        self.path, draw = folder / "set", np.random.default_rng(0)
        for part in ("train", "test"):
            for name in ("a", "b"):
                place = self.path / part / name
                place.mkdir(parents=True)
                for number in range(2):
                    pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(place / f"{number}.png")
        whole = self.path
        self.path = whole / "train/a/0.png"
        self.text = self.path.read_bytes()
        self.whole = whole
        self.wanted = self.read()

    def read(self):
        bundle = load(DataConfig(name=str(self.whole), image_size=8))
        return state_digest([bundle.x_train, bundle.y_train, bundle.x_test, bundle.y_test])


class GenotypeText:
    """A genotype as JSON; what is accepted is what a second reader of JSON finds."""

    def __init__(self, folder):
        self.path = folder / "genotype.json"
        self.text = json.dumps(Genotype(NB201, ("nor_conv_3x3",) * 6).to_json()).encode()

    def read(self):
        from lab.base import parse_json

        try:
            data = parse_json(self.path.read_bytes())
        except ValueError:
            # The reader's own error for text that is no JSON; its callers turn it into theirs.
            return None
        return Genotype.from_json(data)

    def agrees(self, found, data):
        return found is None or found.to_json() == json.loads(data)


KINDS = {
    "checkpoint head": lambda folder: CheckpointHalf(folder, ".json"),
    "checkpoint tensors": lambda folder: CheckpointHalf(folder, ".pt"),
    "database": Database,
    "control file": ControlFile,
    "table": AccuracyTable,
    "npz": Archive,
    "picture": PictureFolder,
    "genotype": GenotypeText,
}


class Hangs(Exception):
    """An input took longer than any may."""


@contextlib.contextmanager
def patience():
    """Raises `Hangs` in the block after five times as much processor time as an input may take."""

    def end(*arguments):
        raise Hangs

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, 5 * LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fuzz(kind, folder, count, seed=0):
    """Counts of what became of `count` damaged inputs, and the faults among them."""
    target, draw = KINDS[kind](folder), random.Random(f"{kind} {seed}")
    counts = {"inputs": count, "accepted": 0, "refused": 0, "foreign": 0, "hangs": 0, "other values": 0}
    faults, longest = [], 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        data = damaged(target.text, draw)
        target.path.parent.mkdir(parents=True, exist_ok=True)
        target.path.write_bytes(data)
        began, fate = time.process_time(), "accepted"
        try:
            with patience():
                found = target.read()
            if found is None:
                fate = "refused"
            elif not target.agrees(found, data):
                fate = "other values"
        except LabError:
            fate = "refused"
        except Hangs:
            fate = "hangs"
        except Exception:  # noqa: BLE001 - what is no LabError is what is looked for
            fate = "foreign"
            faults.append(traceback.format_exc())
        spent = time.process_time() - began
        longest = max(longest, spent)
        fate = "hangs" if spent > LONGEST else fate
        counts[fate] += 1
        if fate in ("hangs", "other values"):
            faults.append(f"{kind} {number}: {fate}, {spent:.1f} s, {data[:300]!r}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {**counts, "longest_s": round(longest, 3), "memory_bytes": max(0, grown)}, faults


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(0)
def test_damaged_input_is_read_as_it_stands_or_refused(kind, tmp_path):
    counts, faults = fuzz(kind, tmp_path, ASKED // len(KINDS) if ASKED else USUAL)
    if ASKED >= 10_000:
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps({**known, kind: counts}, indent=1, sort_keys=True) + "\n")
    assert not faults, f"{counts}\n" + "\n".join(faults[:5])
    assert counts["refused"] > 0
    assert counts["memory_bytes"] <= MOST_MEMORY


@pytest.mark.parametrize(("fault", "text"), [("foreign", "KeyError"), ("other values", "other values")])
def test_the_fuzzer_sees_a_foreign_error_and_another_value(tmp_path, monkeypatch, fault, text):
    if fault == "foreign":
        monkeypatch.setattr(GenotypeText, "read", lambda self: {}["a"])
    else:
        monkeypatch.setattr(GenotypeText, "read", lambda self: Genotype(NB201, ("avg_pool_3x3",) * 6))
        monkeypatch.setattr(GenotypeText, "agrees", lambda self, found, data: False)
    counts, faults = fuzz("genotype", tmp_path, 5)
    assert counts[fault] > 0
    assert text in faults[0]
