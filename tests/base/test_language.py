"""The language that LAB_LANG asks for."""

import pytest

from lab.base import ConfigError, page_language


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("", "en"),
        (" ", "en"),
        ("en", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de_DE.UTF-8", "de"),
        ("de-AT", "de"),
        ("zh_CN", "zh"),
        ("zh-Hans", "zh"),
    ],
)
def test_a_language_or_a_locale_names_the_language_of_the_page(asked: str, code: str) -> None:
    assert page_language({"LAB_LANG": asked}) == code


def test_without_the_variable_the_page_is_in_english() -> None:
    assert page_language({}) == "en"


@pytest.mark.parametrize("asked", ["fr", "english", "C.UTF-8", "_", "d"])
def test_another_language_is_refused_with_those_that_are_there(asked: str) -> None:
    with pytest.raises(ConfigError, match=r"one of en \(English\), de \(German\), zh \(Chinese\)") as refusal:
        page_language({"LAB_LANG": asked})
    assert repr(asked) in str(refusal.value)
    assert "unset it for English" in str(refusal.value)
