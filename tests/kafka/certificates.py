"""A certificate authority for one test: it and what it signs lie in one folder and are gone with it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


class Certificate(NamedTuple):
    """PEM files of a certificate, of its key, and of both."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates; `ca` is the PEM file by which others trust it."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            *("req", "-x509", *_KEY, "-keyout", self._key, "-out", self.ca, "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )

    def sign(self, name: str, alternative: str = "") -> Certificate:
        """Make a certificate; `alternative` is its subjectAltName, such as IP:127.0.0.1."""
        certificate, key, both = (self._folder / f"{name}{end}" for end in (".pem", ".key", "-both.pem"))
        extension = ["-addext", f"subjectAltName={alternative}"] if alternative else []
        _openssl(
            *("req", "-x509", *_KEY, "-keyout", key, "-out", certificate, "-subj", f"/CN={name}"),
            *("-CA", self.ca, "-CAkey", self._key, "-addext", "basicConstraints=critical,CA:FALSE"),
            *extension,
        )
        both.write_text(key.read_text() + certificate.read_text())
        both.chmod(0o600)
        return Certificate(certificate, key, both)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
