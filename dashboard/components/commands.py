"""Commands of a person to the run, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.feed import Snapshot
from components.words import number
from lab.store import control

NAMES = {
    "pause": "Pause",
    "resume": "Resume",
    "mutate": "Mutate now",
    "checkpoint": "Save",
    "set_temperature": "Set temperature",
    "release_temperature": "Release temperature",
    "stop": "Stop",
}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A command on its way."""

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    path: Path
    """Its file; the run removes it when it takes the command."""
    run_dir: Path
    after: int
    """Id of the latest event that was known when the command was sent."""
    time: float
    """Seconds since 1970."""

    @property
    def title(self) -> str:
        """The command as the button names it, with its arguments."""
        values = ", ".join(number(value) for value in self.arguments.values())
        return f"{NAMES[self.command]} {values}".strip()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a command: waiting, done, refused or lost."""

    state: str
    text: str


def send(snapshot: Snapshot, command: str, now: float, **arguments: Any) -> Sent:
    """Send `command` to the run of `snapshot`.

    Raises:
        ConfigError: an unknown command or argument.
        StoreError: the run's folder cannot be written.
    """
    run_dir = snapshot.summary.path
    path = control.send(run_dir, command, **arguments)
    return Sent(
        command=command, arguments=arguments, path=path, run_dir=run_dir, after=snapshot.last_event_id, time=now
    )


def answer(snapshot: Snapshot, sent: Sent, now: float) -> Answer:
    """What became of `sent` as far as `snapshot` knows."""
    for event in snapshot.of("control"):
        # Later events only: the same command may have been sent and answered before.
        if event.id > sent.after and event.payload["command"] == sent.command:
            seconds = max(0.0, event.time - sent.time)
            verdict = "done" if event.payload["done"] else "refused"
            text = f": {event.payload['text']}" if event.payload["text"] else ""
            return Answer(state=verdict, text=f"{sent.title}: {verdict} after {seconds:.1f} s{text}")
    waited = max(0.0, now - sent.time)
    if snapshot.summary.state != "running":
        return Answer(state="lost", text=f"{sent.title}: the run is {snapshot.summary.state} and did not answer")
    taken = "the run has received it" if not sent.path.exists() else "the run has not received it yet"
    return Answer(state="waiting", text=f"{sent.title}: sent {waited:.0f} s ago, {taken}")
