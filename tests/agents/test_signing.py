"""Only our own workers can have written a checkpoint."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import OperatorError
from agents.settings import Settings, load
from agents.signing import BadSignature, sign, signing_key, verified


def settings(folder: Path, key_file: str = "") -> Settings:
    return load(
        Path("/dev/null"), {}, {"worker.data_folder": str(folder), "worker.signing_key_file": key_file}
    )


@given(st.binary(), st.binary(min_size=16), st.integers(min_value=0), st.integers(0, 7))
def test_one_bit_changed_anywhere_is_noticed(value: bytes, key: bytes, place: int, bit: int) -> None:
    record = bytearray(sign(value, key))
    assert verified(bytes(record), key) == value
    record[place % len(record)] ^= 1 << bit
    with pytest.raises(BadSignature):
        verified(bytes(record), key)


@pytest.mark.parametrize("record", [b"", b"short", b"x" * 500])
def test_what_was_never_signed_is_refused(record: bytes) -> None:
    with pytest.raises(BadSignature):
        verified(record, b"k" * 32)


def test_a_key_is_made_once_for_this_user_only_and_then_kept(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = signing_key(settings(folder))
    assert signing_key(settings(folder)) == key
    assert len(key) >= 32
    assert [path.name for path in folder.iterdir()] == ["signing.key"]
    assert stat.S_IMODE((folder / "signing.key").stat().st_mode) == 0o600
    assert signing_key(settings(tmp_path / "other")) != key


def test_workers_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.append(signing_key(settings(tmp_path)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_named_key_is_used_and_one_that_is_missing_or_short_is_told(tmp_path: Path) -> None:
    named = tmp_path / "key"
    with pytest.raises(OperatorError, match="No such file"):
        signing_key(settings(tmp_path, str(named)))
    named.write_text("short\n")
    with pytest.raises(OperatorError, match="shorter than 16 bytes"):
        signing_key(settings(tmp_path, str(named)))
    named.write_text("0123456789abcdef\n")
    assert signing_key(settings(tmp_path, str(named))) == b"0123456789abcdef"
