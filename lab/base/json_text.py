"""JSON that others wrote, read so that a damaged file has one kind of error."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: no JSON; brackets nested too deep for this Python, a whole number of too many digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets nested too deep") from error
