"""Bars of shares: one group for each label, never told apart by colour alone."""

from lab.charts import share_figure


def test_one_bar_for_each_label_and_name_with_its_number() -> None:
    figure = share_figure(["a", "b"], {"drawn": [0.25, 0.75], "wanted": [0.5, 0.5]}, title="coins")
    assert [bar.name for bar in figure.data] == ["drawn", "wanted"]
    assert [list(bar.x) for bar in figure.data] == [["a", "b"]] * 2
    assert list(figure.data[0].y) == [0.25, 0.75]
    assert list(figure.data[0].text) == ["0.25", "0.75"]
    assert figure.layout.title.text == "coins"
    assert figure.layout.barmode == "group"


def test_the_bars_of_a_group_differ_in_colour_and_in_fill() -> None:
    bars = share_figure(["a"], {"one": [0.1], "two": [0.2], "three": [0.3]}).data
    assert len({bar.marker.color for bar in bars}) == 3
    assert len({bar.marker.pattern.shape for bar in bars}) == 3


def test_the_axis_stays_from_nothing_to_all() -> None:
    assert tuple(share_figure(["a"], {"one": [0.01]}).layout.yaxis.range) == (0.0, 1.05)
