"""Layout: one colour of text, clear backgrounds, nothing that a page must undo."""

from typing import Any

from lab.charts import INK, genotype_figure, make_series, note_figure, probability_figure, temperature_figure


def test_text_has_one_colour_that_a_page_can_change_in_one_place(snapshot: dict[str, Any]) -> None:
    warm = make_series("temperature", [0, 9], [5.0, 1.0])
    for figure in (
        temperature_figure(warm, warm, entropy_limit=1.6),
        probability_figure(snapshot),
        genotype_figure(()),
    ):
        assert figure.layout.font.color == INK
        assert all(note.font.color is None for note in figure.layout.annotations)
        assert figure.layout.xaxis.tickfont.color is None


def test_the_page_shows_through() -> None:
    layout = note_figure("nothing yet").layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_a_title_is_written_where_one_is_given() -> None:
    assert note_figure("nothing yet", title="Loss").layout.title.text == "Loss"
    assert note_figure("nothing yet").layout.title.text is None


def test_the_reason_of_an_empty_figure_stands_on_a_line_of_its_own():
    note = note_figure("No probabilities: a search writes them after its first architecture epoch.")
    first, second = note.layout.annotations[0].text.split("<br>")
    assert (first, second) == ("No probabilities:", "a search writes them after its first architecture epoch.")
    assert note_figure("Nothing yet").layout.annotations[0].text == "Nothing yet"
