import pytest

from lab.base import ConfigError
from lab.lesson import draw_fates, draw_lines


def test_lines_have_a_text_beside_the_picture():
    drawn = draw_lines([1, 2], x_title="layer", careless_swap=[0.0, 5.0], exact=[0.0, 0.0])
    assert "layer  careless swap  exact" in str(drawn)
    assert [trace.name for trace in drawn.figure().data] == ["careless swap", "exact"]
    assert "5" in drawn._repr_mimebundle_()["text/html"]


def test_a_map_of_fates_writes_the_word_into_its_cell():
    drawn = draw_fates(["a", "b"], {"to_empty": ["kept", "lost"]}, {"kept": 0, "lost": 3})
    heat = drawn.figure().data[0]
    assert [list(row) for row in heat.text] == [["kept"], ["lost"]]
    assert [list(row) for row in heat.z] == [[0], [3]]
    assert "b     lost" in str(drawn)


def test_a_fate_without_a_rank_and_a_short_line_are_refused():
    with pytest.raises(ConfigError, match="a rank from 0 to 3 of 'odd'"):
        draw_fates(["a"], {"x": ["odd"]}, {}).figure()
    with pytest.raises(ConfigError, match="2 values of y"):
        draw_lines([1, 2], x_title="x", y=[1.0]).figure()
