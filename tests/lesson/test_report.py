import pytest
from IPython.lib.pretty import pretty
from torch import nn

from lab.lesson import Exercise, RunFeed, check, expect, memory_bars, parameter_table, set_up
from lab.store import RunWriter


@pytest.fixture
def reports(tmp_path):
    """One report of each kind."""
    with RunWriter(tmp_path, "run", {}):
        pass
    with expect(ValueError, match="x") as error:
        raise ValueError("x")
    exercise = Exercise("one", hints=("add",), compare=lambda answer: [check("one", answer(), 1)])
    return [
        check("one", 1, 2),
        error,
        exercise.hint(),
        exercise.check(lambda: 1),
        memory_bars(before=1),
        parameter_table(nn.Linear(1, 1)),
        set_up(),
        RunFeed(tmp_path / "run", ("loss",)).snapshot(),
    ]


def test_a_console_shows_the_text_of_every_report(reports):
    for report in reports:
        assert repr(report) == pretty(report) == str(report)


def test_every_report_has_html_and_data(reports):
    for report in reports:
        assert report._repr_html_().startswith("<")
        assert isinstance(report.to_dict(), dict)
        assert report.to_json()
