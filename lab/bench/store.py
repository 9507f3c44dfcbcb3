"""The run store's speed: what writing costs a trainer, what reading costs beside one, what is left after a kill."""

import itertools
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.base import ReportTable, StoreError
from lab.bench.settings import StoreBench
from lab.results import machine
from lab.store import RunReader, RunWriter

SCALARS_A_STEP = 10
_NAME = "bench"
# A trainer of its own process: root, seconds between two steps (0: as fast as it can), scalars a step.
_TRAINER = """
import itertools, sys, time
from lab.store import RunWriter
root, pause, width = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
run = RunWriter(root, "bench", {})
names = [f"scalar{i}" for i in range(width)]
begin = time.monotonic()
for step in itertools.count():
    run.scalars(step, {name: step / 3 for name in names})
    if step == 0:
        run.flush()
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
    if pause:
        time.sleep(max(0.0, begin + (step + 1) * pause - time.monotonic()))
"""


def run(config: StoreBench) -> dict[str, Any]:
    """Measure writing, reading beside a trainer of `rate` and beside one that writes all it can, and a kill."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        results = {
            "writing": _writing(root / "writing", config.steps),
            "reading": _reading(root / "paced", config, 1 / config.rate),
            "reading_beside_flat_out": _reading(root / "flat_out", config, 0.0),
            "kill": _kill(root / "kill", 1 / config.rate),
            "kill_flat_out": _kill(root / "kill_flat_out", 0.0),
            "aim": {"rows_per_second": 20_000, "read_p99_ms": 5.0},
        }
    return {
        "bench": "store",
        "config": asdict(config),
        "machine": {**machine(), "sqlite": sqlite3.sqlite_version},
        "results": results,
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """The result, one row for each measurement."""
    figures = result["results"]
    writing, reading, flat_out, kill = (
        figures[name] for name in ("writing", "reading", "reading_beside_flat_out", "kill")
    )
    aim = figures["aim"]
    paced, fast = (f"{figure['rows_per_second']:,.0f} rows/s" for figure in (reading, flat_out))
    rows = (
        ("rows/s until all are in the file", f"{writing['rows_per_second']:,.0f}", f">= {aim['rows_per_second']:,}"),
        (f"one call with {SCALARS_A_STEP} scalars", f"{writing['call_us']:.1f} us", ""),
        (f"read p50 beside {paced}", f"{reading['p50_ms']:.2f} ms", ""),
        (f"read p99 beside {paced}", f"{reading['p99_ms']:.2f} ms", f"<= {aim['read_p99_ms']} ms"),
        ("  of it own processor time, p99", f"{reading['cpu_p99_ms']:.2f} ms", ""),
        (f"read p99 beside {fast}", f"{flat_out['p99_ms']:.2f} ms", ""),
        ("after SIGKILL", f"{kill['state']}, {kill['rows']:,} rows, integrity {kill['integrity']}", "readable"),
        ("age of the newest row at SIGKILL", f"{kill['newest_row_age_s']:.2f} s", ""),
    )
    return ReportTable(title="run store", columns=("measurement", "value", "aim"), rows=rows)


def _writing(root: Path, steps: int) -> dict[str, float]:
    values = {f"scalar{i}": i / 3 for i in range(SCALARS_A_STEP)}
    writer = RunWriter(root, _NAME, {})
    begin = time.perf_counter()
    for step in range(steps):
        writer.scalars(step, values)
    called = time.perf_counter() - begin
    writer.finish()
    whole = time.perf_counter() - begin
    rows = steps * SCALARS_A_STEP
    with closing(sqlite3.connect(root / _NAME / "events.db")) as connection:
        written = connection.execute("SELECT count(*) FROM scalar").fetchone()[0]
    if written != rows:
        raise StoreError(f"{rows} rows in the file", f"{written}", "report this as a fault of the store")
    return {"rows": rows, "rows_per_second": rows / whole, "call_us": called / steps * 1e6}


def _reading(root: Path, config: StoreBench, pause: float) -> dict[str, float]:
    with _trainer(root, pause):
        reader = RunReader(root / _NAME)
        rows = reader.scalars(limit=1_000_000)
        first, cursor, begin = rows.cursor, rows.cursor, time.perf_counter()
        times, own = [], []
        for _ in range(config.reads):
            start, start_own = time.perf_counter(), time.thread_time()
            cursor = reader.scalars(after=cursor).cursor
            own.append(time.thread_time() - start_own)
            times.append(time.perf_counter() - start)
            time.sleep(config.pause)
        seconds = time.perf_counter() - begin
    times.sort()
    own.sort()
    return {
        "reads": len(times),
        "rows_per_second": (cursor - first) / seconds,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
        "max_ms": times[-1] * 1e3,
        "cpu_p99_ms": own[len(own) * 99 // 100] * 1e3,
    }


def _kill(root: Path, pause: float) -> dict[str, Any]:
    with _trainer(root, pause) as process:
        time.sleep(1.0)
        process.kill()
        killed = time.time()
        process.wait()
    reader = RunReader(root / _NAME)
    rows, newest, cursor = 0, 0.0, 0
    steps = itertools.count()
    while page := reader.scalars(after=cursor, names=("scalar0",), limit=50_000):
        if any(found != expected for found, expected in zip(page.step, steps, strict=False)):
            raise StoreError("every step up to the last one", "a gap", "report this as a fault of the store")
        rows, newest, cursor = rows + len(page), page.time[-1], page.cursor
    state = reader.state()
    with closing(sqlite3.connect(root / _NAME / "events.db")) as connection:
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return {"state": state, "rows": rows * SCALARS_A_STEP, "newest_row_age_s": killed - newest, "integrity": integrity}


@contextmanager
def _trainer(root: Path, pause: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _TRAINER, str(root), repr(pause), str(SCALARS_A_STEP)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise StoreError("a trainer that writes", "one that ended at once", "see its error above")
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
