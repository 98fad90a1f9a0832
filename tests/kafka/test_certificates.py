"""Certificates and keys that do not fit are told before anything connects; here because it takes openssl."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.connection import check_files
from agents.errors import OperatorError
from agents.sections import SecuritySettings
from tests.kafka.certificates import Authority
from tests.kafka.listeners import secret_file

pytestmark = pytest.mark.kafka


def complaints(**security: str) -> list[str]:
    with pytest.raises(OperatorError) as caught:
        check_files(SecuritySettings(**security))
    return caught.value.message.splitlines()


def test_a_key_must_be_the_certificates_and_needs_no_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    one, other = authority.sign("one"), authority.sign("other")
    given = {"protocol": "SSL", "ca_file": str(authority.ca), "certificate_file": str(one.certificate)}
    check_files(SecuritySettings(**given, key_file=str(one.key)))
    check_files(SecuritySettings(**given | {"certificate_file": str(one.both)}))
    (line,) = complaints(**given, key_file=str(other.key))
    assert line.endswith("the key is not the one of the certificate")
    encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjMF8=\n-----END ENCRYPTED PRIVATE KEY-----\n"
    (line,) = complaints(**given, key_file=secret_file(tmp_path / "encrypted.key", encrypted))
    assert line.endswith("not a certificate and its key in PEM form, without a password")
