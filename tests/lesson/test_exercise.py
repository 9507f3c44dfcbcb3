import pytest
import torch

from lab.base import ConfigError
from lab.lesson import Exercise, check


@pytest.fixture
def double():
    def compare(answer):
        x = torch.tensor([1.0, 3.0])
        return [check("twice x", answer(x), 2 * x)]

    return Exercise("double", hints=("It is a product.", "Two times x."), compare=compare)


def empty(x): ...


def unwritten(x):
    raise NotImplementedError


@pytest.mark.parametrize("stub", [empty, unwritten, lambda x: ...])
def test_an_empty_stub_is_not_tried_yet(double, stub):
    attempt = double.check(stub)
    assert attempt.status == "not tried yet"
    assert not attempt.ok
    assert "not tried yet" in str(attempt)


def test_a_wrong_answer_is_told_how_far_off_it_is(double):
    attempt = double.check(lambda x: x + 2)
    assert attempt.status == "not yet"
    assert "off by 1 at (0,): got 3, wanted 2" in str(attempt)
    assert "off by 1" in attempt._repr_html_()


def test_a_right_answer_is_ok(double):
    attempt = double.check(lambda x: x + x)
    assert attempt.ok
    assert "✓ ok" in str(attempt)
    assert attempt.to_dict()["results"][0]["exact"]


def test_an_error_inside_the_answer_is_raised_as_it_is(double):
    with pytest.raises(ZeroDivisionError, match="division"):
        double.check(lambda x: 1 // 0)


def test_torch_saying_not_implemented_is_no_empty_stub(double):
    with pytest.raises(NotImplementedError, match="meta tensor"):
        double.check(lambda x: x.to("meta").to("cpu"))


def test_hints_come_one_at_a_time_and_the_last_says_so(double):
    first, second, third = str(double.hint()), str(double.hint(2)), str(double.hint(3))
    assert "It is a product." in first
    assert "Two times x." not in first
    assert "1 more: ask for .hint(2)" in first
    assert "Two times x." in second
    assert "last hint" in second
    assert third == second


def test_no_hint_at_all_is_refused(double):
    with pytest.raises(ConfigError, match="steps >= 1"):
        double.hint(0)


@pytest.fixture
def square():
    def compare(answer):
        x = torch.tensor([1.0, 3.0])
        return [
            check("x squared", answer(x), x * x, meaning="each number times itself"),
            check("of a half", answer(x / 2), x * x / 4),
        ]

    return Exercise("square", hints=("x",), compare=compare, mistakes={"that is x doubled": lambda x: 2 * x})


def test_a_known_mistake_is_told_by_its_results(square):
    attempt = square.check(lambda x: x + x * 1.0000001)
    assert attempt.what_is_wrong == ("that is x doubled",)
    assert "what is wrong: that is x doubled" in str(attempt)


def test_an_unknown_mistake_is_told_by_what_the_checks_mean(square):
    attempt = square.check(lambda x: x * x + 1)
    assert attempt.what_is_wrong == ("each number times itself", attempt.what_is_wrong[1])
    assert "of a half: off by 1" in attempt.what_is_wrong[1]
    assert square.check(lambda x: x * x).what_is_wrong == ()


def test_an_answer_of_another_shape_is_no_known_mistake(square):
    assert square.check(lambda x: x[:1]).mistake == ""


def test_the_picture_shows_what_came_beside_what_was_wanted(square):
    figure = square.check(lambda x: 2 * x).figure()
    wanted, came = figure.data
    assert (list(wanted.y), list(came.y)) == ([1.0, 9.0], [2.0, 6.0])
    assert figure.layout.title.text == "✗ off: x squared"
    assert square.check(lambda x: ...).figure() is None


def test_of_green_checks_the_one_with_the_most_numbers_is_drawn():
    def compare(answer):
        return [check("one", answer(1.0), 2.0), check("three", answer(torch.ones(3)), 2 * torch.ones(3))]

    exercise = Exercise("double", hints=("x",), compare=compare)
    assert exercise.check(lambda x: 2 * x).figure().layout.title.text == "✓ exact: three"
    assert exercise.check(lambda x: 3 * x).figure().layout.title.text == "✗ off: one"


def test_the_checks_are_rows_of_one_table(square):
    _, table = square.check(lambda x: x * x + 1).tables()
    assert [row[:2] for row in table.rows] == [("x squared", "✗ off"), ("of a half", "✗ off")]
    assert table.notes[0] == "x squared: what is wrong: each number times itself"
    assert len(square.check(lambda x: ...).tables()) == 1


def test_a_notebook_gets_the_picture_and_the_text(square):
    bundle = square.check(lambda x: 2 * x)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "that is x doubled" in bundle["text/html"]
    assert set(square.check(lambda x: ...)._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_a_value_in_place_of_the_function_is_refused(double):
    with pytest.raises(ConfigError, match="expected a function, got int"):
        double.check(3)


def test_an_exercise_without_a_hint_is_refused():
    with pytest.raises(ConfigError, match="hints"):
        Exercise("bare", hints=(), compare=lambda answer: [])


def test_a_check_that_compares_nothing_is_refused():
    exercise = Exercise("hollow", hints=("x",), compare=lambda answer: [])
    with pytest.raises(ConfigError, match="at least one check"):
        exercise.check(lambda: 1)
