"""Which input topic a message belongs to, and by which key: the same for sending and for replay."""

from __future__ import annotations

import msgspec

from schemas.codec import ORDER_EVENTS
from schemas.topics import CLICKSTREAM, ORDERS


class _Head(msgspec.Struct, rename="camel", gc=False):
    event: object = None
    user_id: object = None
    anonymous_id: object = None


_head = msgspec.json.Decoder(_Head)


def route(line: bytes) -> tuple[str, bytes | None]:
    """Say where a message belongs.

    Parameters
    ----------
    line
        One message as JSON.

    Returns
    -------
    tuple of str and bytes
        `orders` or `clickstream`, and the key: the `userId`, else the `anonymousId`, else None.

    Raises
    ------
    msgspec.DecodeError
        When it is not a JSON object.

    Examples
    --------
    >>> route(b'{"event": "Order Completed", "userId": "c-17"}')
    ('orders', b'c-17')
    >>> route(b'{"type": "page", "anonymousId": "a-1"}')
    ('clickstream', b'a-1')
    """
    head = _head.decode(line)
    topic = ORDERS if isinstance(head.event, str) and head.event in ORDER_EVENTS else CLICKSTREAM
    for identity in (head.user_id, head.anonymous_id):
        if isinstance(identity, str) and identity:
            return topic, identity.encode()
    return topic, None
