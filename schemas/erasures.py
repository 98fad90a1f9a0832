"""A request to erase a customer, as it travels on the topic `erasures`.

The record's key is the customer id. The value says up to where the customer is to be forgotten: for each
input topic, the offset at which the partition ended when the request was made. That makes a request mean
the same whoever takes it, and however far behind they are: what stood on the inputs before it goes, what
came later is a new customer. A clock could not say that, as record times are the senders'.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

REQUEST_VERSION = 1


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record on `erasures`.

    Attributes
    ----------
    requested_at
        When, by the clock of who asked; nothing depends on it.
    until
        By the real name of each input topic, where the record's partition of it ended.

    Examples
    --------
    >>> decode_request(b'{"version":1,"requested_at":"2026-03-01T12:00:00Z","until":{"orders":7}}').until
    {'orders': 7}
    """

    version: int
    requested_at: datetime
    until: dict[str, int]


_decoder = msgspec.json.Decoder(ErasureRequest)


def decode_request(value: bytes) -> ErasureRequest:
    """Read a request.

    Raises
    ------
    ValueError
        When it cannot be read by this program.
    """
    try:
        request = _decoder.decode(value)  # msgspec's errors are ValueErrors
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if request.version != REQUEST_VERSION:
        raise ValueError(f"request of version {request.version}, this program knows {REQUEST_VERSION}")
    return request
