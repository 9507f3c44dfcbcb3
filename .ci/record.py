"""Record the runs that `lab demo --replay` shows: train them anew, and keep of each what the page draws.

    python .ci/record.py [FOLDER]

Two real trainings on scikit-learn's digits, a few minutes on one core: a search that changes its cell while it trains,
and beside it a fixed network of the same width, for as many epochs. Nothing is made up afterwards: rows are only left
out, those of scalars and events that no panel draws, and the machine's name. The index goes too: a run of a few
thousand rows is read as fast without. Default folder: data/recorded.
"""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMON = "--dataset digits --init-channels 32 --batch-size 32 --weight-lr 0.05 --seed 0 --threads 1 --device cpu"
RUNS = {
    "digits": "aso-se --prior none --warmup-epochs 3 --arch-training-epochs 2 --weight-training-epochs 4 "
    "--total-cycles 5 --retraining-epochs 4 --mutation-test before --growth width --growth-schedule 4",
    "digits-fixed": "fixed --epochs 37",
}
"""Name of each run -> its recipe and options."""
COMPARED = ("loss", "accuracy", "epoch", "decision/%", "test/%")
DRAWN = {"digits": (*COMPARED, "health", "temperature", "beta", "memory/%"), "digits-fixed": COMPARED}
"""Scalars of each run that are kept: what a panel draws, of the fixed network what it is compared in."""
LEFT_OUT = {"digits": (), "digits-fixed": ("images", "predictions", "layers", "memory")}
"""Events of each run that are not: of the fixed network those of panels on which it is not compared."""


def keep(run: Path, place: Path) -> None:
    """Copy the run's database with the scalars of `DRAWN` alone, without a write-ahead log: nobody writes it again."""
    place.mkdir(parents=True)
    drawn = DRAWN[place.name]
    named = " OR ".join(["name LIKE ?"] * len(drawn))
    with (
        closing(sqlite3.connect(run / "events.db")) as source,
        closing(sqlite3.connect(place / "events.db", isolation_level=None)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
        target.execute(f"DELETE FROM scalar WHERE NOT ({named})", drawn)
        target.executemany("DELETE FROM event WHERE kind = ?", [(kind,) for kind in LEFT_OUT[place.name]])
        target.execute("DROP INDEX IF EXISTS scalar_name_step")
        target.execute("UPDATE attempt SET host = ''")
        target.execute("VACUUM")


def main(folder: Path) -> None:
    """Train and keep."""
    with tempfile.TemporaryDirectory() as runs:
        for name, options in RUNS.items():
            command = [sys.executable, "-m", "lab", "train", *f"{options} {COMMON} --name {name}".split()]
            subprocess.run([*command, "--save-dir", runs], cwd=ROOT, check=True)
            shutil.rmtree(folder / name, ignore_errors=True)
            keep(Path(runs) / name, folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data" / "recorded")
