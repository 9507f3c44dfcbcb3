import pytest

from lab.base import ConfigError
from lab.device import MemoryChange, MemoryHistory
from lab.lesson import draw_memory, memory_bars
from lab.lesson.units import format_bytes


def test_bars_are_as_long_as_their_share_of_the_largest():
    text = str(memory_bars(before=1_000_000, after=500_000))
    lines = {line.split()[0]: line for line in text.splitlines() if "█" in line}
    assert lines["before"].count("█") == 30
    assert lines["after"].count("█") == 15


def test_numbers_stand_beside_the_bars_in_text_and_html():
    bars = memory_bars(before=1_000_000, after=1_250_000)
    for shown in (str(bars), bars._repr_html_()):
        assert "1 MB" in shown
        assert "1.25 MB" in shown
        assert "after less before: +250 kB (+25.0 %)" in shown


def test_an_underscore_in_a_name_is_shown_as_a_space():
    bars = memory_bars(with_a_child=2, of_its_own=1)
    assert bars.amounts == {"with a child": 2, "of its own": 1}
    assert "of its own less with a child" in str(bars)


def test_html_bars_have_the_same_share():
    assert "width:40.0%" in memory_bars(before=100, after=40)._repr_html_()


def test_a_small_amount_beside_a_large_one_still_shows_a_bar():
    assert str(memory_bars(model=10, data=10_000_000)).count("█") == 31


def test_nothing_at_all_is_no_division_by_zero():
    assert "0 B" in str(memory_bars(before=0, after=0))


def test_more_than_two_amounts_compare_the_last_with_the_first():
    assert memory_bars(before=10, peak=30, after=12).change == 2


@pytest.mark.parametrize("amount", [-1, 1.5, True, "1"])
def test_an_amount_that_is_no_number_of_bytes_is_refused(amount):
    with pytest.raises(ConfigError, match="before in whole bytes"):
        memory_bars(before=amount)


def test_no_amount_is_refused():
    with pytest.raises(ConfigError, match="at least one amount"):
        memory_bars()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (-2_500_000, "-2.5 MB"), (3e9, "3 GB"), (999_600, "1 MB")],
)
def test_bytes_are_shown_with_a_decimal_unit(count, text):
    assert format_bytes(count) == text


def history(*changes):
    return MemoryHistory(changes=[MemoryChange(line=line, operation="f", nbytes=size) for line, size in changes])


def test_memory_over_time_is_told_by_line_in_characters_and_numbers():
    drawn = draw_memory(history(("small", 10), ("large", 800), ("large", -800), ("small", 300)), title="A step")
    lines = {line.split()[-1]: line for line in str(drawn).splitlines() if line.endswith(("small", "large"))}
    assert lines["small"].startswith(" ▁▁▁▄")
    assert lines["large"].startswith("  █")
    assert str(drawn).startswith("A step")
    assert "all lines: 810 B at most, 310 B at the end" in str(drawn)
    assert drawn.to_dict()["live"] == [0, 10, 810, 10, 310]


def test_a_long_history_keeps_its_peak_in_thirty_characters():
    changes = [("a", size) for _ in range(100) for size in (5, -5)]
    changes[100:100] = [("a", 80), ("a", -80)]
    row = draw_memory(history(*changes)).tables()[0].rows[0]
    assert len(row[0]) == 30
    assert row[0].count("█") == 1


def test_the_picture_has_an_area_for_each_line():
    drawn = draw_memory(history(("a", 10), ("b", 20)))
    assert [area.name for area in drawn.figure().data] == ["b", "a"]
    bundle = drawn._repr_mimebundle_()
    assert {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} <= bundle.keys()


def test_nothing_allocated_is_told_without_a_picture():
    drawn = draw_memory(history())
    assert drawn.figure() is None
    assert "all lines: 0 B at most" in drawn._repr_mimebundle_()["text/plain"]
