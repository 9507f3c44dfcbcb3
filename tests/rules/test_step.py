"""One training step runs through few files, and is what docs/architecture.md says."""

import re
import sys
from pathlib import Path

import pytest

FILES_MOST = 14
LINES_MOST = 300
STORY_MOST = 8
AFTER_THE_EPOCH = "lab/checkpoint/files.py"
"""The story ends with the epoch, which the counted step does not."""


class Recorder:
    """Files of the package in order of their first call, from the end of the first step to that of the second."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, None] = {}
        self.steps = 0

    def on_step(self, epoch: int, epochs: int, phase: str, batch: int, batches: int, loss: float) -> None:
        self.steps += 1

    def on_text(self, text: str) -> None:
        pass

    def called(self, frame: object, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)  # type: ignore[attr-defined]
        if event == "call" and self.steps == 1 and path.is_relative_to(self.root / "lab"):
            self.files[path.relative_to(self.root).as_posix()] = None


@pytest.fixture(scope="module")
def files(root, tmp_path_factory, make_config) -> list[str]:
    from lab.runs import Run

    recorder = Recorder(root)
    config = make_config(recipe="fixed", epochs=1)
    run = Run(config, save_dir=tmp_path_factory.mktemp("step"), name="step", observer=recorder)
    before = sys.getprofile()
    sys.setprofile(recorder.called)
    try:
        run.execute()
    finally:
        sys.setprofile(before)
    return list(recorder.files)


def story_of(page: str) -> list[str]:
    """The files that the numbered story names, in order, each once."""
    section = page.split("## One training step")[1].split("\n## ")[0]
    numbered = "".join(re.findall(r"^\d\. .*?(?=^\d\. |\n\n)", section, re.MULTILINE | re.DOTALL))
    return list(dict.fromkeys(re.findall(r"`(lab/[\w/]+\.py)`", numbered)))


def test_a_step_of_a_fixed_network_runs_through_few_short_files(files, texts):
    assert len(files) <= FILES_MOST, "\n".join(files)
    long = {name: lines for name in files if (lines := len(texts[name].splitlines())) > LINES_MOST}
    assert not long


def test_the_story_of_a_step_is_what_a_real_step_does(files, texts):
    story = story_of(texts["docs/architecture.md"])
    assert 6 <= len(story) <= STORY_MOST
    # The loop's own frame is open when the step begins: it is the first file, wherever its next function is called.
    assert story[0] == "lab/train/loop.py"
    listed = [name for name in story[1:] if name != AFTER_THE_EPOCH]
    assert listed == sorted(listed, key=files.index), files
    assert "lab/train/loop.py" in files
    assert AFTER_THE_EPOCH in story


def test_the_reader_of_the_story_sees_files_in_order_and_once():
    story = "1. `lab/a.py`: does\n   `lab/b.py`.\n2. `lab/a.py` again.\n"
    page = f"## One training step\n\ntext `lab/no.py`\n\n{story}\nend `lab/no.py`\n\n## Next\n"
    assert story_of(page) == ["lab/a.py", "lab/b.py"]
