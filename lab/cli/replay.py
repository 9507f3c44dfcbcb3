"""`lab demo --replay`: the recorded run that comes with the lab, on the wall. Nothing is trained, no torch imported."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.base import DISTRIBUTION, ReportTable, StoreError, resource
from lab.store import RunReader

RECORDED = "data/recorded"
"""Folder of the recorded runs, among the lab's files."""
RUN = "digits"
"""The one that is shown; the fixed network beside it has its name with an addition."""
SPEED = 1
"""Times as fast as the training went: it is over in half a minute."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a recorded run holds."""

    run: str
    """Its folder."""
    steps: int
    seconds: float
    """From its first event to its last."""
    mutations: int
    kept: int
    growths: int
    test_accuracy: float | None
    """In [0, 1], read once, at the end."""

    def table(self) -> ReportTable:
        """The recording as text."""
        accuracy = "not read" if self.test_accuracy is None else f"{self.test_accuracy:.2%}"
        rows = (
            ("steps", f"{self.steps:,}"),
            ("training took", f"{self.seconds:.0f} s"),
            ("mutations", f"{self.mutations}, {self.kept} kept"),
            ("growths", f"{self.growths}"),
            ("test accuracy", accuracy),
            ("folder", self.run),
        )
        return ReportTable(title="lab demo --replay: a recorded run", columns=("what", "value"), rows=rows)


def recorded_runs() -> Path:
    """The folder of the recorded runs.

    Raises:
        StoreError: this installation came without them.
    """
    folder = resource(RECORDED)
    if not (folder / RUN).is_dir():
        raise StoreError(
            "the recorded run among the lab's files", f"no {folder / RUN}", f"install {DISTRIBUTION} again"
        )
    return folder


def read_recording(folder: Path) -> Recording:
    """What the recorded run in `folder` holds."""
    reader = RunReader(folder / RUN)
    events = reader.events().events
    statuses = [event.payload["status"] for event in events if event.kind == "mutation"]
    test = reader.scalars(names=("test/accuracy",)).value
    return Recording(
        run=str(folder / RUN),
        steps=reader.summary().last_step or 0,
        seconds=events[-1].time - events[0].time,
        mutations=statuses.count("applied"),
        kept=statuses.count("accepted"),
        growths=sum(event.kind == "growth" for event in events),
        test_accuracy=test[-1] if test else None,
    )


def replay(*, port: int, headless: bool, browser: bool, as_json: bool) -> int:
    """Show the recorded run on the wall until Ctrl-C; headless: say in words what it holds."""
    folder = recorded_runs()
    if headless:
        found = read_recording(folder)
        sys.stdout.write(f"{json.dumps(vars(found), indent=2) if as_json else found.table()}\n")
        return 0
    from lab.cli.dashboard import show, stay
    from lab.cli.serve import dashboard_server

    # Nothing is written beside the recording: it is among the lab's files.
    with dashboard_server(port, folder, starts=False) as address:
        show(f"{address}/?{wall_query()}", browser=browser)
        stay()
    return 0


def wall_query() -> str:
    """What the page is asked for: the wall, on which the recorded run plays from its beginning."""
    return f"run={RUN}&view=wall&step=0&play={SPEED}"
