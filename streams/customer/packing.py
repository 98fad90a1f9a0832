"""Numbers and ids in few bytes.

Features are 32-bit floats already, so packing them loses nothing. An id of any length becomes eight bytes,
the same in every process.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection
from hashlib import blake2b
from typing import Final

from librt.strings import BytesWriter, write_f32_le
from librt.vecs import vec

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


def pack_vector(values: vec[float]) -> bytes:
    """Pack numbers like `pack`, without making an object of each.

    Examples
    --------
    >>> pack_vector(vec[float]([0.5, 2.0])) == pack([0.5, 2.0])
    True
    """
    writer = BytesWriter()
    for value in values:
        write_f32_le(writer, value)
    return writer.getvalue()


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
