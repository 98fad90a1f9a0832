"""Listeners of Apache Kafka that want encryption or a login, and settings that have what it takes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from agents.settings import Settings
from deploy.kafka.local import LocalKafka
from tests.kafka.certificates import Authority
from tests.live.harness import ROOT, own_settings

USER, PASSWORD = "ann", "correct horse = battery"
_MODULES = "org.apache.kafka.common.security"


def tls(authority: Authority, clients: str = "none") -> dict[str, str]:
    """Properties of a listener that encrypts; `clients="required"` asks for a certificate of theirs."""
    server = authority.sign("broker", "IP:127.0.0.1")
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "ssl.client.auth": clients,
    }


def login() -> dict[str, str]:
    """Properties of a listener that wants a login, by any mechanism but Kerberos."""
    plain = f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    token = f'{_MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "plain.sasl.jaas.config": plain,
        "scram-sha-256.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        "scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        "oauthbearer.sasl.jaas.config": token,
        "oauthbearer.connections.max.reauth.ms": "3000",  # then the broker closes the connection
    }


def scram_users(*names: str) -> list[str]:
    """Users as StorageTool is given them."""
    return [
        f'{mechanism}=[name={name},password="{PASSWORD}"]'
        for name in names
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
    ]


def token(subject: str = USER, seconds: float = 600.0) -> str:
    """Make an unsecured token, which Kafka takes in tests."""
    now = time.time()
    parts = {"alg": "none"}, {"sub": subject, "iat": now, "exp": now + seconds}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


def secret_file(path: Path, text: str) -> str:
    """Write a file that nobody else can read."""
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def reach(kafka: LocalKafka, security: Mapping[str, object], **given: object) -> Settings:
    """Settings for the listener CLIENT with topics and a group of their own."""
    overrides: dict[str, object] = {"kafka.bootstrap": kafka.client_bootstrap}
    return own_settings(overrides | {f"security.{name}": v for name, v in security.items()}, **given)


def holdfast(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, as a user does; settings are in its holdfast.toml."""
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    return subprocess.run(
        [sys.executable, "-m", "agents", *arguments],
        cwd=folder,
        env=surroundings | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
