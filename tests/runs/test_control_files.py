"""A live training refuses what is no command, tells of it once, and goes on."""

import os
import sys

import pytest

from lab.runs import Run
from lab.store import RunReader

FILES = {
    "huge": '{"command": "pause", "arguments": {}, "sent": 1%s}' % ("0" * 400),
    "deep": "[" * 60_000,
    "temperature": '{"command": "set_temperature", "arguments": {"temperature": 1%s}, "sent": 1}' % ("0" * 400),
    "smallest temperature": '{"command": "set_temperature", "arguments": {"temperature": 5e-324}, "sent": 1}',
    "largest temperature": '{"command": "set_temperature", "arguments": {"temperature": 1.7e308}, "sent": 1}',
    "folder": None,
}


class Sender:
    """Puts one file into the run's control folder at the second step of `phase`."""

    def __init__(self, run_dir, phase, text):
        self.run_dir, self.phase, self.text = run_dir, phase, text

    def on_step(self, epoch, epochs, phase, batch, batches, loss):
        if self.text != "" and (phase, batch) == (self.phase, 2):
            path = self.run_dir / "control" / "1.json"
            os.makedirs(path if self.text is None else path.parent)
            if self.text is not None:
                path.write_text(self.text)
            self.text = ""

    def on_text(self, text):
        pass


@pytest.mark.usefixtures("prompt_inbox")
@pytest.mark.parametrize("name", FILES)
def test_a_control_file_never_ends_a_training(make_config, tmp_path, name):
    config = make_config(search={"warmup_epochs": 1, "arch_training_epochs": 1, "total_cycles": 1})
    observer = Sender(tmp_path / "a", "arch_training", FILES[name])
    limit = sys.getrecursionlimit()
    report = Run(config, save_dir=tmp_path, name="a", observer=observer).execute()
    assert observer.text == ""
    assert report.state == "finished"
    assert sys.getrecursionlimit() == limit
    answers = [event.payload for event in RunReader(tmp_path / "a").events(kinds=("control",)).events]
    assert [answer["done"] for answer in answers] == [name.endswith("est temperature")]
    assert not (tmp_path / "a" / "control").exists()
