"""Numbers and ids in few bytes.

Features are 32-bit floats already, so packing them loses nothing; what only tells how things have changed
since is cut to three bytes each. An id of any length becomes eight bytes, the same in every process.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection
from hashlib import blake2b
from typing import Final

DIGEST: Final = 8
"""Bytes of a digest."""

_NOTHING_HASHED: Final = blake2b(digest_size=DIGEST)


def pack(values: Collection[float]) -> bytes:
    """Pack numbers as 32-bit floats.

    Examples
    --------
    >>> unpack(pack([0.5, 2.0]))
    [0.5, 2.0]
    """
    return struct.pack(f"={len(values)}f", *values)  # half as long as an array of them


def pack_short(values: Collection[float]) -> bytes:
    """Pack numbers as the upper three bytes of 32-bit floats: all firsts, all seconds, all thirds.

    Examples
    --------
    >>> len(pack_short([0.1, 2.0])), [round(value, 4) for value in unpack_short(pack_short([0.1, 2.0]))]
    (6, [0.1, 2.0])
    """
    packed = pack(values)
    return packed[3::4] + packed[2::4] + packed[1::4]


def unpack_short(packed: bytes) -> list[float]:
    """Unpack what `pack_short` packed: to four digits or more, which is enough to tell what has changed."""
    count = len(packed) // 3
    whole = bytearray(4 * count)
    whole[3::4] = packed[:count]
    whole[2::4] = packed[count : 2 * count]
    whole[1::4] = packed[2 * count :]
    return unpack(bytes(whole))


def unpack(packed: bytes) -> list[float]:
    """Unpack what `pack` packed; the values are those that a model was asked with."""
    values = array("f")
    values.frombytes(packed)
    return values.tolist()


def digest(text: str) -> bytes:
    """Reduce an id to 8 bytes that are the same in every process.

    Examples
    --------
    >>> digest("m-1").hex()
    'd27ad701a6859b35'
    """
    hashing = _NOTHING_HASHED.copy()  # half as long as a new one with its size by keyword
    hashing.update(text.encode())
    return hashing.digest()
