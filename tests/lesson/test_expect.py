import gc
import weakref

import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.lesson import LessonError, expect


def test_the_expected_error_is_swallowed_and_kept():
    with expect(ValueError, match="two") as error:
        raise ValueError("one or two")
    assert error.raised == "ValueError"
    assert error.message == "one or two"
    assert error.line == 'raise ValueError("one or two")'


def test_a_block_that_raises_nothing_fails():
    with (
        pytest.raises(LessonError, match=r"expected ValueError .*'two', found no error at all"),
        expect(ValueError, match="two"),
    ):
        pass


def test_another_type_fails_and_keeps_the_other_error_as_its_cause():
    with pytest.raises(LessonError, match="got KeyError: 'two'") as caught, expect(ValueError, match="two"):
        raise KeyError("two")
    assert isinstance(caught.value.__cause__, KeyError)


def test_another_message_fails():
    with pytest.raises(LessonError, match="got ValueError: one. The type is right"), expect(ValueError, match="two"):
        raise ValueError("one")


def test_a_subclass_of_the_expected_type_counts():
    with expect(LookupError, match="two") as error:
        raise KeyError("two")
    assert error.raised == "KeyError"


def test_a_failed_lesson_is_an_assertion_error():
    with pytest.raises(AssertionError, match="no error"), expect(ValueError, match="x"):
        pass


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt), expect(ValueError, match="x"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error_type", "match", "says"),
    [(ValueError, "", "an empty one"), (ValueError, "(", "regular expression"), (KeyboardInterrupt, "x", "subclass")],
)
def test_a_pattern_that_proves_nothing_is_refused(error_type, match, says):
    with pytest.raises(ConfigError, match=says):
        expect(error_type, match=match)


def test_text_and_html_show_the_message_the_line_and_the_place():
    with expect(RuntimeError, match="size mismatch") as error:
        nn.Linear(2, 3).load_state_dict(nn.Linear(4, 3).state_dict())
    for shown in (str(error), error._repr_html_()):
        assert "RuntimeError" in shown
        assert "size mismatch for weight" in shown
        assert "nn.Linear(2, 3).load_state_dict" in shown
        assert "torch/nn/modules/module.py:" in shown
    assert error.to_dict()["message"] == error.message


def test_markup_in_a_message_is_escaped():
    with expect(ValueError, match="bold") as error:
        raise ValueError("<b>bold</b>")
    assert "<b>bold" not in error._repr_html_()


def test_a_long_message_is_shortened_and_says_so():
    with expect(ValueError, match="line 0") as error:
        raise ValueError("\n".join(f"line {i}" for i in range(12)))
    assert "line 4" in str(error)
    assert "line 5" not in str(error)
    assert "7 more lines" in str(error)
    assert "line 11" in error.message


def test_a_line_without_end_is_cut_where_it_is_shown():
    with expect(ValueError, match="x") as error:
        raise ValueError("x" * 1000)
    assert "x" * 156 + " ..." in str(error)
    assert "x" * 157 not in str(error)
    assert len(error.message) == 1000


def test_before_the_block_ends_it_says_that_nothing_was_raised():
    assert "Nothing was raised yet" in str(expect(ValueError, match="x"))


def test_no_tensor_of_a_failed_call_stays_alive():
    def fail():
        tensor = torch.zeros(4)
        kept.append(weakref.ref(tensor))
        raise ValueError("x")

    kept: list[weakref.ref] = []
    gc.disable()
    try:
        with expect(ValueError, match="x") as error:
            fail()
        assert kept[0]() is None
    finally:
        gc.enable()
    assert error.raised == "ValueError"
