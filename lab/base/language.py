"""Which language the page speaks: the environment variable LAB_LANG, a language or a locale; English without it."""

import os
import re
from collections.abc import Mapping
from types import MappingProxyType

from lab.base.errors import ConfigError

LANGUAGE_VARIABLE = "LAB_LANG"
LANGUAGES: Mapping[str, str] = MappingProxyType({"en": "English", "de": "German", "zh": "Chinese"})
"""Code -> name of each language of the page."""


def page_language(environment: Mapping[str, str] = os.environ) -> str:
    """`en`, `de` or `zh`: what LAB_LANG asks for, also as a locale such as `de_DE.UTF-8`; `en` where it is not set.

    Raises:
        ConfigError: another language.
    """
    asked = environment.get(LANGUAGE_VARIABLE, "").strip()
    if not asked:
        return "en"
    code = re.split(r"[-_.@]", asked.lower())[0]
    if code not in LANGUAGES:
        known = ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())
        expected = f"{LANGUAGE_VARIABLE} to be one of {known}"
        raise ConfigError(expected, repr(asked), f"set {LANGUAGE_VARIABLE} to one of these, or unset it for English")
    return code
