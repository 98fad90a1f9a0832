"""Lines of a file, of a compressed file, or of whatever is piped in, one way of reading for all.

A pipe differs from a file in one thing that matters: the next line may take its time. Whoever collects
lines to send them together has to know, so reading a pipe says where it would have to wait.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol, cast

from agents.errors import OperatorError

_PART_BYTES = 1 << 20
_LINES_A_BLOCK = 64


class _Pipe(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class Lines:
    """The lines of a file or of standard input, and how far the reading is.

    Iterating gives the lines and, on standard input, None where the next line is not there yet: whoever
    collects lines can act on those it has before it waits.

    Parameters
    ----------
    name
        A path, `.gz` at its end for a compressed file, or `-` for standard input.

    Attributes
    ----------
    size
        Bytes of the file, compressed ones where it is compressed; None for standard input.
    position
        How many of them have been read.

    Raises
    ------
    OperatorError
        When there is no such file, or, while iterating, when it cannot be read.
    """

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == "-" else name
        self._is_gzip = name.endswith(".gz")
        self.size: int | None = None
        self.position = 0
        if name != "-":
            try:
                self.size = Path(name).stat().st_size
            except OSError as error:
                raise OperatorError(f"{name}: {error.strerror or error}") from None

    def __iter__(self) -> Iterator[bytes | None]:
        for block in self.blocks():
            if block is None:
                yield None
            else:
                yield from block

    def blocks(self) -> Iterator[list[bytes] | None]:
        """Give the lines some at a time, for whoever has to be quick."""
        if self.size is None:
            yield from _as_they_come(cast(_Pipe, sys.stdin.buffer))
            return
        try:
            with Path(self.name).open("rb") as raw:
                lines = gzip.GzipFile(fileobj=raw) if self._is_gzip else raw
                while block := list(islice(lines, _LINES_A_BLOCK)):
                    self.position = raw.tell()
                    yield block
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise OperatorError(f"{self.name}: not a whole gzip file: {error}") from None
        except OSError as error:
            raise OperatorError(f"{self.name}: {error.strerror or error}") from None


def _as_they_come(file: _Pipe) -> Iterator[list[bytes] | None]:
    rest = b""
    while part := file.read1(_PART_BYTES):
        *lines, rest = (rest + part).split(b"\n")
        yield lines
        yield None
    if rest:
        yield [rest]
