"""Records of topics in a file, as they were: which input each is of, its value or none, its headers.

A line could not hold them. A value may have line breaks or be missing (a tombstone), CloudEvents stand in
headers, and which topic a record came from cannot always be told from the record. Each is written as
msgpack behind its length, so reading goes through the file once and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from agents.errors import OperatorError
from schemas.sources.envelope import Headers

_LENGTH = 4


class Recorded(NamedTuple):
    """One record.

    Attributes
    ----------
    source
        The place of its input in `schemas.topics.INPUTS`.
    value
        The message; None for a tombstone.
    headers
        Empty where the input's format reads none.
    """

    source: int
    value: bytes | None
    headers: Headers


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, bytes | None, list[tuple[str, bytes | None]]]).decode


def write_record(file: BinaryIO, record: Recorded) -> None:
    """Append a record to a file."""
    written = _encode(record)
    file.write(len(written).to_bytes(_LENGTH, "big") + written)


class Records:
    """The records of a file, and how far the reading is.

    Attributes
    ----------
    size
        Bytes of the file.
    position
        How many of them have been read.

    Raises
    ------
    OperatorError
        When there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0
        try:
            self.size: int | None = path.stat().st_size
        except OSError as error:
            raise OperatorError(f"{path}: {error.strerror or error}") from None

    def __iter__(self) -> Iterator[Recorded]:
        read_bytes = 0
        with self._path.open("rb") as file:
            while head := file.read(_LENGTH):
                length = int.from_bytes(head, "big")
                source, value, headers = _decode(file.read(length))
                read_bytes += _LENGTH + length
                self.position = read_bytes
                yield Recorded(source, value, headers)  # type: ignore[arg-type]
