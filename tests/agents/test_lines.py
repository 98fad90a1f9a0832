"""Lines of files and pipes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.errors import OperatorError
from agents.lines import Lines


class Pipe:
    """Standard input that gives what was written in the portions in which it was written."""

    def __init__(self, *portions: bytes) -> None:
        self.portions = list(portions)

    def read1(self, _size: int) -> bytes:
        return self.portions.pop(0) if self.portions else b""


def test_a_compressed_file_has_the_lines_of_the_plain_one(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(b"one\ntwo\nthree")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(Lines(str(plain))) == [b"one\n", b"two\n", b"three"]
    assert list(Lines(str(packed))) == list(Lines(str(plain)))


def test_the_position_ends_at_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % number for number in range(50_000))))
    lines = Lines(str(path))
    positions = [lines.position for _ in lines]
    assert positions == sorted(positions)
    assert 0 < positions[0] < positions[-1] <= lines.position == lines.size


def test_a_pipe_says_where_it_would_have_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(b"one\ntw", b"o\n", b"three")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe))
    assert list(Lines("-")) == [b"one", None, b"two", None, None, b"three"]


def test_an_empty_pipe_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(b""))))
    assert list(Lines("-")) == []


def test_a_file_that_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.jsonl: No such file or directory"):
        Lines(str(tmp_path / "none.jsonl"))


def test_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="Is a directory"):
        list(Lines(str(tmp_path)))


@pytest.mark.parametrize("damage", ["cut", "not gzip", "flipped"])
def test_a_damaged_gzip_file_is_told(tmp_path: Path, damage: str) -> None:
    whole = bytearray(gzip.compress(b"".join(b"%d\n" % number for number in range(10_000))))
    if damage == "flipped":
        whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes({"cut": whole[: len(whole) // 2], "not gzip": b"hello\n", "flipped": whole}[damage])
    with pytest.raises(OperatorError, match=r"a\.jsonl\.gz: not a whole gzip file: ") as caught:
        list(Lines(str(path)))
    assert "\n" not in caught.value.message
