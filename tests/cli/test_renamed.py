"""Old spellings of flags are read for one version and say the new one."""

import pytest

from lab.cli.main import main
from lab.cli.renamed import current_flags


@pytest.mark.parametrize(
    ("words", "new"),
    [
        (["--reject-sigmas", "2"], ["--reject-z", "2"]),
        (["--reject_sigmas=2"], ["--reject-z=2"]),
        (["--accumulation=4"], ["--grad-accum-steps=4"]),
        (["--weights-share", "0.5"], ["--train-share", "0.5"]),
        (["--architecture-share", "0.5"], ["--search-share", "0.5"]),
        (["--decisions-share", "0.5"], ["--selection-share", "0.5"]),
    ],
)
def test_an_old_flag_is_read_and_the_new_one_is_said_in_one_line(words, new, capsys):
    assert current_flags(words) == new
    said = capsys.readouterr().err
    assert said.startswith(f"lab: {words[0].split('=')[0]} is now {new[0].split('=')[0]}\n")
    assert said.count("\n") == 1


def test_other_words_pass_in_silence(capsys):
    words = ["--reject-z", "2", "accumulation", "--name=accumulation"]
    assert current_flags(words) == words
    assert capsys.readouterr().err == ""


def test_a_command_gets_the_flag_of_today(monkeypatch):
    seen = []
    monkeypatch.setattr("lab.cli.runs.run", lambda words: len(seen.extend(words) or []))
    assert main(["runs", "--reject-sigmas", "2"]) == 0
    assert seen == ["--reject-z", "2"]
