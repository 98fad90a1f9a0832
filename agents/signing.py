"""Signed records: what only our own workers can have written.

A learner goes on from its checkpoint without a second look, so whoever can write to that topic could
put a model of their own in its place. The checkpoint is therefore signed (HMAC-SHA256) with a key that
the workers of a shop share, and nothing of a record is parsed before its signature is right. What is
behind the signature is msgpack of known types: nothing is ever unpickled.

The key comes from the file that `worker.signing_key_file` names. Without one, a key is made in the data
folder, which is enough for workers that share it; workers on several machines need the same file.

References
----------
RFC 2104, HMAC: Keyed-Hashing for Message Authentication.
"""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from pathlib import Path

from agents.errors import OperatorError
from agents.settings import Settings

_MAC_BYTES = 32
_LEAST_KEY_BYTES = 16


class BadSignature(OperatorError):  # noqa: N818 - a state of the world, named after it
    """A record was not signed with our key."""


def sign(value: bytes, key: bytes) -> bytes:
    """Put a signature before a value.

    Examples
    --------
    >>> len(sign(b"weights", b"k" * 32)) - len(b"weights")
    32
    """
    return hmac.digest(key, value, "sha256") + value


def verified(record: bytes, key: bytes) -> bytes:
    """Give the value behind a signature that is right.

    Raises
    ------
    BadSignature
        When it is not: another key, or no signature at all.

    Examples
    --------
    >>> verified(sign(b"weights", b"k" * 32), b"k" * 32)
    b'weights'
    """
    mac, value = record[:_MAC_BYTES], record[_MAC_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(key, value, "sha256")):
        raise BadSignature("not signed with this worker's key")
    return value


def verified_checkpoint(record: bytes, key: bytes, topic: str) -> bytes:
    """Give what is behind the signature of a learner's checkpoint.

    Raises
    ------
    BadSignature
        When it is not right, with what to do.
    """
    try:
        return verified(record, key)
    except BadSignature as error:
        raise BadSignature(
            f"the learner's checkpoint on {topic} is {error.message}; give all workers the same "
            "worker.signing_key_file, or delete that topic to learn anew from the examples"
        ) from None


def signing_key(settings: Settings) -> bytes:
    """Read the key, or make one in the data folder where none is named.

    Raises
    ------
    OperatorError
        When the file cannot be read or holds less than 16 bytes.
    """
    named = settings.worker.signing_key_file
    path = Path(named) if named else Path(settings.worker.data_folder) / "signing.key"
    try:
        if not named and not path.exists():
            _make(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise OperatorError(f"signing key {path}: {error.strerror or error}") from None
    if len(key) < _LEAST_KEY_BYTES:
        raise OperatorError(f"signing key {path}: shorter than {_LEAST_KEY_BYTES} bytes")
    return key


def _make(path: Path) -> None:
    """Write a new key that only we can read; of two workers that start together, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, own = tempfile.mkstemp(dir=path.parent)  # for this user only
    with open(number, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(own, path)  # unlike a rename, it does not replace what is there
    except FileExistsError:
        pass
    finally:
        os.unlink(own)
