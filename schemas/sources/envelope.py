"""The one path by which a foreign message becomes an event: through the envelope of a Segment message.

A translator says in the words of the Segment spec what a message means. Everything after that is shared
with the messages that came in these words from the start: limits, ids, times, amounts, reasons. Numbers
and times need care before that, because each collector writes them in its own way.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, ParamSpec, TypeVar

import msgspec

from schemas.codec import (
    EARLIEST_MS,
    LATEST_MS,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_ID_LENGTH,
    WireError,
    event_of,
    refused,
    utc,
)
from schemas.events import Event
from schemas.messages import Envelope

Headers = Sequence[tuple[str, bytes]]
Translate = Callable[[bytes, Headers], Envelope]
Number = int | float | str | None
"""As JSON has it, or as text: exports write large integers and exact decimals so."""

_UNITS = (
    (EARLIEST_MS // 1000, LATEST_MS // 1000, 1000.0),  # seconds
    (EARLIEST_MS, LATEST_MS, 1.0),
    (EARLIEST_MS * 1000, LATEST_MS * 1000, 1e-3),  # microseconds
    (EARLIEST_MS * 1_000_000, LATEST_MS * 1_000_000, 1e-6),  # nanoseconds
)
_NO_PROPERTIES = msgspec.Raw(b"{}")


def envelope(
    *,
    type: str,
    message_id: str,
    time: datetime | None,
    event: str | None = None,
    user_id: str | None = None,
    anonymous_id: str | None = None,
    properties: dict[str, Any] | None = None,
) -> Envelope:
    """Put an envelope together.

    Examples
    --------
    >>> made = envelope(type="page", message_id="m", time=utc(1_767_225_600_000), user_id="c")
    >>> made.type, made.user_id, made.timestamp.year
    ('page', 'c', 2026)
    """
    # The type is one of the six: translators write it out, and the Struct does not check what is not decoded.
    return Envelope(
        type=type,  # type: ignore[arg-type]
        message_id=message_id,
        timestamp=time,
        event=event,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=_NO_PROPERTIES if properties is None else msgspec.Raw(msgspec.json.encode(properties)),
    )


def passive(
    message_id: str, time: datetime | None, user_id: str | None, anonymous_id: str | None
) -> Envelope:
    """Put together an envelope of what is about a customer and no act of theirs."""
    return envelope(
        type="identify", message_id=message_id, time=time, user_id=user_id, anonymous_id=anonymous_id
    )


def number(value: Number, field: str) -> float | None:
    """Read a number that may be text.

    Raises
    ------
    WireError
        `wrong_type` when it is no finite number.

    Examples
    --------
    >>> number("12.50", "total"), number(3, "total"), number(None, "total")
    (12.5, 3.0, None)
    >>> number("EHo=", "total")
    Traceback (most recent call last):
    schemas.codec.WireError: wrong_type: total is not a number
    """
    if value is None:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        found = math.nan
    # Python also reads "1_000" and "infinity", which are no numbers of anybody's export.
    if not math.isfinite(found) or (isinstance(value, str) and "_" in value):
        raise WireError("wrong_type", f"{field} is not a number")
    return found


def moment(value: Number, field: str) -> datetime | None:
    """Read a time: ISO 8601 text, or a number since 1970 in seconds, milli-, micro- or nanoseconds.

    The unit is told by the size, which is unambiguous from 1990 to 2100. Text without an offset is UTC,
    as databases and exports write it.

    Raises
    ------
    WireError
        `bad_time` when it is neither.

    Examples
    --------
    >>> moment(1_767_225_600, "t") == moment("1767225600000000", "t") == moment("2026-01-01 00:00:00", "t")
    True
    >>> moment(17, "t")
    Traceback (most recent call last):
    schemas.codec.WireError: bad_time: t is no time from 1990 to 2100
    """
    if value is None:
        return None
    if isinstance(value, str) and not value.lstrip("-").isascii():
        raise WireError("bad_time", f"{field} is no time from 1990 to 2100")
    if isinstance(value, str) and not value.isdigit():
        return _text_moment(value, field)
    count = float(value) if isinstance(value, float) else int(value[:20] if isinstance(value, str) else value)
    for least, most, milliseconds in _UNITS:
        if least <= count < most:
            return utc(int(count * milliseconds))
    raise WireError("bad_time", f"{field} is no time from 1990 to 2100")


def _text_moment(text: str, field: str) -> datetime:
    # BigQuery's way to write UTC.
    text = text.removesuffix(" UTC")
    try:
        found = msgspec.convert(text, datetime, strict=True)
    except msgspec.ValidationError:
        raise WireError("bad_time", f"{field} is no time from 1990 to 2100") from None
    return as_utc(found)


def as_utc(time: datetime) -> datetime:
    """Take a time without an offset as UTC."""
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time


def fingerprint(*parts: object) -> str:
    """Give an id to a message that has none: a function of what tells it from all others.

    Examples
    --------
    >>> fingerprint("shop", 1) == fingerprint("shop", 1) != fingerprint("shop1", "")
    True
    """
    written = msgspec.json.encode([None if part is None else str(part) for part in parts])
    return hashlib.blake2b(written, digest_size=16).hexdigest()


def short(message_id: str) -> str:
    """Keep an id that fits into a `messageId`, and give a fingerprint of one that does not."""
    return message_id if len(message_id) <= MAX_MESSAGE_ID_LENGTH else fingerprint(message_id)


def text_id(value: int | str | None) -> str | None:
    """Give an id as text; databases have numbers.

    Examples
    --------
    >>> text_id(17), text_id("c-17"), text_id(None)
    ('17', 'c-17', None)
    """
    return None if value is None else str(value)


_Arguments = ParamSpec("_Arguments")
_Made = TypeVar("_Made")


def _refusing(
    make: Callable[_Arguments, _Made], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Made:
    """Call what parses, and say as a `WireError` whatever the parser says."""
    try:
        return make(*args, **kwargs)
    except msgspec.ValidationError as error:
        raise refused(error) from None
    except msgspec.DecodeError as error:
        raise WireError("not_json", str(error)) from None
    except UnicodeDecodeError:
        raise WireError("not_json", "not UTF-8") from None
    except RecursionError:
        raise WireError("not_json", "nested too deeply") from None


class Decoder:
    """Reads messages of one format, as `schemas.codec.decode_event` reads those of Segment.

    Parameters
    ----------
    translate
        Makes the envelope; it may raise `WireError` and what msgspec raises.
    empty
        What a record without a value is; without it, it is refused.
    make
        Makes the event of an envelope.
    """

    def __init__(
        self,
        translate: Translate,
        empty: Event | None = None,
        make: Callable[[Envelope], Event] = event_of,
    ) -> None:
        self._translate = translate
        self._empty = empty
        self._make = make

    def envelope(
        self, value: bytes | None, max_bytes: int = MAX_MESSAGE_BYTES, headers: Headers = ()
    ) -> Envelope:
        """Translate a message and check no more of it than that.

        Raises
        ------
        WireError
            When that is not possible.
        """
        if value is None:
            raise WireError("missing", "the record has no value")
        if len(value) > max_bytes:
            raise WireError("too_large", f"{len(value)} bytes, at most {max_bytes}")
        return _refusing(self._translate, value, headers)

    def __call__(
        self, value: bytes | None, max_bytes: int = MAX_MESSAGE_BYTES, headers: Headers = ()
    ) -> Event:
        """Read one message.

        Raises
        ------
        WireError
            When it breaks the contract; its `reason` says how.
        """
        if value is None and self._empty is not None:
            return self._empty
        return _refusing(self._make, self.envelope(value, max_bytes, headers))
