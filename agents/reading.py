"""What a replay reads: the messages of files or of fetched topics, each with the number of its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.lines import Lines
from agents.records import Records
from schemas.sources.config import SourceConfig
from schemas.sources.registry import input_of
from streams.playback import Headed, Message

Source = Lines | Records


class Reading:
    """The messages of files, and the place of the one that was given last.

    Attributes
    ----------
    file, line
        Both from 1, as people count; of a topic the line is the number of the record.
    """

    def __init__(self, files: Sequence[Source], sources: SourceConfig) -> None:
        self._files = files
        self._input_of = input_of(sources)
        self.file = self.line = 0

    @property
    def bytes_read(self) -> int:
        """Count the bytes that have been read of all files."""
        return sum(lines.position for lines in self._files)

    def messages(self) -> Iterator[tuple[int, Message]]:
        """Give the messages in their order, each with the place of its input in `schemas.topics.INPUTS`."""
        for file in self._files:
            self.file += 1
            self.line = 0
            if isinstance(file, Lines):
                yield from self._lines(file)
            else:
                yield from self._records(file)

    def _lines(self, file: Lines) -> Iterator[tuple[int, bytes]]:
        input_of_line = self._input_of
        read = 0
        for block in file.blocks():
            if block is None:
                continue
            for number, line in enumerate(block, read + 1):
                self.line = number
                value = line.rstrip(b"\r\n")
                if value:
                    yield input_of_line(value), value
            read += len(block)

    def _records(self, file: Records) -> Iterator[tuple[int, Message]]:
        for source, value, headers in file:
            self.line += 1
            yield source, Headed(value, headers) if headers else value
