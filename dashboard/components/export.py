"""A run as CSV text."""

import csv
import io
from pathlib import Path

from lab.store import RunReader


def scalars_csv(run_dir: Path, page: int = 100_000) -> str:
    """Every scalar of the run, one line each: step, name, value, time (seconds since 1970), attempt.

    NaN and infinities are written as `nan`, `inf` and `-inf`.

    Raises:
        StoreError: the run cannot be read.
    """
    reader = RunReader(run_dir)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "name", "value", "time", "attempt"])
    cursor = 0
    while True:
        rows = reader.scalars(after=cursor, limit=page)
        writer.writerows(zip(rows.step, rows.name, rows.value, rows.time, rows.attempt, strict=True))
        cursor = rows.cursor
        if len(rows) < page:
            return text.getvalue()
