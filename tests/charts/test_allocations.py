from lab.charts import allocation_figure


def test_each_line_has_an_area_and_they_stand_on_each_other():
    figure = allocation_figure({"a = f()": [0, 4, 4], "b = g()": [0, 0, 2]}, title="Step")
    assert [(area.name, list(area.y)) for area in figure.data] == [("a = f()", [0, 4, 4]), ("b = g()", [0, 0, 2])]
    assert {area.stackgroup for area in figure.data} == {"lines"}
    assert list(figure.data[0].x) == [0, 1, 2]
    signs = {(area.line.color, area.fillpattern.shape) for area in figure.data}
    assert len(signs) == len({color for color, _ in signs}) == len({shape for _, shape in signs}) == 2


def test_lines_beyond_the_first_seven_are_added_up():
    figure = allocation_figure({f"line {number}": [number, 1] for number in range(10)})
    assert [area.name for area in figure.data] == [*(f"line {number}" for number in range(7)), "other lines"]
    assert list(figure.data[-1].y) == [7 + 8 + 9, 3]
    assert len({area.fillpattern.shape for area in figure.data}) == 8


def test_a_long_line_is_cut_in_the_legend_and_the_figure_grows_with_its_rows():
    few, many = allocation_figure({"x" * 200: [1]}), allocation_figure({name: [1] for name in "abcd"})
    assert few.data[0].name == "x" * 87 + "…"
    assert many.layout.height - few.layout.height == many.layout.margin.b - few.layout.margin.b == 60
