import inspect
import re

import pytest

from lab.base import LabError, errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_was_expected_what_came_and_what_to_do_in_one_line(kind):
    error = kind("a number", "'x'", "give a number")
    assert isinstance(error, LabError)
    assert (error.expected, error.got, error.hint) == ("a number", "'x'", "give a number")
    assert str(error) == "expected a number, got 'x'. Give a number."


def test_the_tree_in_the_docstring_names_every_error():
    drawn = re.findall(r"-- (\w+)", errors.__doc__)
    assert sorted(drawn) == sorted(kind.__name__ for kind in KINDS if kind is not LabError)


def test_an_error_survives_pickling():
    import pickle

    error = errors.DataError("a file", "none", "make one")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
