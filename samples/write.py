"""Messages to lines of JSON: what `holdfast replay` reads and what goes on a topic.

One message a line, UTF-8, no blanks: a file of these lines is a topic without a broker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson


def lines(messages: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    r"""Encode messages as lines of JSON.

    Parameters
    ----------
    messages
        Dictionaries of plain values, such as `samples.cdnow.messages` gives.

    Yields
    ------
    bytes
        One message as JSON, a newline at its end.

    Raises
    ------
    TypeError
        When a value has no form in JSON.

    Examples
    --------
    >>> list(lines([{"messageId": "m1", "properties": {"revenue": 11.77}}]))
    [b'{"messageId":"m1","properties":{"revenue":11.77}}\n']
    """
    for message in messages:
        yield orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
