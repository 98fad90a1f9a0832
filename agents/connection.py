"""What each Kafka client is given to reach the cluster: one place, so that no client can forget to log in.

Four clients talk to the brokers: aiokafka's consumers and producer, the same inside Faust, and kafka-python
for commands. Each spells encryption and login in its own words, and each falls back to plaintext when it is
told nothing. So none is made from settings directly: all take their arguments from here, and a test looks
for those that do not.

Secrets are read when arguments are made, so a password changed in its file is used from the next start on.
Tokens live for minutes and are read anew for each login. A file that is missing, empty or not what it should
be is told at once, before anything connects, all of them together.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
from pathlib import Path
from typing import Any

from agents.errors import OperatorError
from agents.sections import SecuritySettings
from agents.settings import Settings

log = logging.getLogger(__name__)

_warned: set[Path] = set()


class Secret(str):
    """Text that does not show itself where a program prints what it has: in a log, a repr, a traceback.

    Clients log their arguments when they are asked for details, and a repr of a dictionary is what they log.

    Examples
    --------
    >>> {"sasl_plain_password": Secret("swordfish")}
    {'sasl_plain_password': ***}
    >>> Secret("swordfish") == "swordfish"
    True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


def aiokafka_arguments(settings: Settings) -> dict[str, Any]:
    """Give what every aiokafka client needs to reach the cluster.

    Parameters
    ----------
    settings
        Where the brokers are, how patient to be, how to log in.

    Raises
    ------
    OperatorError
        With one line for each file that cannot be used.

    Examples
    --------
    >>> aiokafka_arguments(Settings())["security_protocol"]
    'PLAINTEXT'
    """
    arguments = _reach(settings) | {"bootstrap_servers": settings.kafka.bootstrap}
    if _by_token(settings.security):
        arguments["sasl_oauth_token_provider"] = _aiokafka_tokens(settings.security)
    return arguments


def kafka_python_arguments(settings: Settings) -> dict[str, Any]:
    """Give what every kafka-python client needs to reach the cluster.

    Raises
    ------
    OperatorError
        With one line for each file that cannot be used.

    Examples
    --------
    >>> kafka_python_arguments(Settings())["bootstrap_servers"]
    ['127.0.0.1:9092']
    """
    arguments = _reach(settings) | {"bootstrap_servers": settings.kafka.bootstrap.split(",")}
    del arguments["request_timeout_ms"]  # for the admin client only: a consumer wants it above its session's
    if _by_token(settings.security):
        arguments["sasl_oauth_token_provider"] = _kafka_python_tokens(settings.security)
    return arguments


def faust_credentials(settings: Settings) -> Any:
    """Give Faust's `broker_credentials`, or None for plaintext.

    Faust decides between SASL_PLAINTEXT and SASL_SSL by whether there is an SSL context; what the settings
    say has been checked before, so one is there whenever the protocol says so.

    Raises
    ------
    OperatorError
        With one line for each file that cannot be used.
    """
    from faust import auth

    security = settings.security
    context = _context(security)
    if _by_token(security):
        return auth.OAuthCredentials(oauth_cb=_aiokafka_tokens(security), ssl_context=context)
    if security.logs_in:
        return auth.SASLCredentials(
            username=security.username,
            password=_password(security),
            mechanism=security.mechanism,
            ssl_context=context,
        )
    return auth.SSLCredentials(context) if context is not None else None


def _reach(settings: Settings) -> dict[str, Any]:
    """Give what both clients call by the same names."""
    kafka, security = settings.kafka, settings.security
    check_files(security)
    arguments: dict[str, Any] = {
        "client_id": kafka.client_id,
        "request_timeout_ms": int(kafka.request_timeout_seconds * 1000),
        "security_protocol": security.protocol,
    }
    if security.encrypted:
        arguments["ssl_context"] = _context(security)
    if security.logs_in:
        arguments["sasl_mechanism"] = security.mechanism
    if security.logs_in and not _by_token(security):
        arguments["sasl_plain_username"] = security.username
        arguments["sasl_plain_password"] = _password(security)
    return arguments


# Files


def check_files(security: SecuritySettings) -> None:
    """Check that every file that is needed is there and holds what it should.

    Raises
    ------
    OperatorError
        With one line for each that does not.

    Examples
    --------
    >>> check_files(SecuritySettings(protocol="SSL", ca_file="/nowhere/ca.pem"))
    Traceback (most recent call last):
    agents.errors.OperatorError: security.ca_file: /nowhere/ca.pem: No such file or directory
    """
    problems = []
    for read in (_password, read_token, _context):
        try:
            read(security)
        except OperatorError as error:
            problems += error.message.splitlines()
        except OSError as error:
            problems.append(f"security.token_file: {security.token_file}: {error.strerror or error}")
    if problems:
        raise OperatorError("\n".join(problems))


def _by_token(security: SecuritySettings) -> bool:
    return security.logs_in and security.mechanism == "OAUTHBEARER"


def _password(security: SecuritySettings) -> Secret:
    if not security.password_file:
        return Secret(security.password)
    path = Path(security.password_file)
    try:
        found = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise OperatorError(f"security.password_file: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise OperatorError(f"security.password_file: {path}: not text in UTF-8") from None
    if not found:
        raise OperatorError(f"security.password_file: {path}: it is empty")
    _warn_of_readers("password_file", path)
    return Secret(found)


def read_token(security: SecuritySettings) -> Secret:
    """Read the token that is valid now; an empty one where none is used.

    Raises
    ------
    OSError
        When the file cannot be read: to a client that is connecting, a failure to connect.
    OperatorError
        When it does not hold a token.
    """
    if not _by_token(security):
        return Secret("")
    path = Path(security.token_file)
    # One of strange bytes is never sent: it would end the header that it travels in.
    found = path.read_bytes().strip()
    if not found or not found.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in found):
        raise OperatorError(f"security.token_file: {path}: it does not hold one token")
    _warn_of_readers("token_file", path)
    return Secret(found.decode("ascii"))


def _context(security: SecuritySettings) -> ssl.SSLContext | None:
    if not security.encrypted:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the broker's certificate
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = security.check_hostname
    problems = []
    for trust in (_trust, _identify):
        try:
            trust(context, security)
        except OperatorError as error:
            problems.append(error.message)
    if problems:
        raise OperatorError("\n".join(problems))
    return context


def _trust(context: ssl.SSLContext, security: SecuritySettings) -> None:
    if not security.ca_file:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(cafile=security.ca_file)
    except ssl.SSLError:
        raise OperatorError(
            f"security.ca_file: {security.ca_file}: it holds no certificate in PEM form"
        ) from None
    except OSError as error:
        raise OperatorError(f"security.ca_file: {security.ca_file}: {error.strerror or error}") from None


def _identify(context: ssl.SSLContext, security: SecuritySettings) -> None:
    if not security.certificate_file:
        return
    named = [("certificate_file", security.certificate_file)]
    if security.key_file:
        named.append(("key_file", security.key_file))
    for name, path in named:  # load_cert_chain does not say which of the two is missing
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise OperatorError(f"security.{name}: {path}: {error.strerror or error}") from None
    name, key = named[-1]
    _warn_of_readers(name, Path(key))
    try:
        # Without a password of ours, OpenSSL would ask for one at the terminal, and wait.
        context.load_cert_chain(security.certificate_file, security.key_file or None, password="")
    except ssl.SSLError as error:
        reason = {
            "KEY_VALUES_MISMATCH": "the key is not the one of the certificate",
            "NO_START_LINE": "no certificate or no key in PEM form",
        }.get(error.reason or "", "not a certificate and its key in PEM form, without a password")
        raise OperatorError(
            f"security.certificate_file: {' and '.join(path for _, path in named)}: {reason}"
        ) from None


def _warn_of_readers(name: str, path: Path) -> None:
    """Warn once about a secret that every user of the machine can read.

    A warning and no refusal: in a container, where secrets are mounted like that, there is nobody else.
    """
    if path not in _warned and os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
        _warned.add(path)
        log.warning("security.%s: %s can be read by every user of this machine (chmod o-r)", name, path)


# Tokens: each library asks for a subclass of its own, one of them as a coroutine.


def _aiokafka_tokens(security: SecuritySettings) -> Any:
    from aiokafka.abc import AbstractTokenProvider

    class Tokens(AbstractTokenProvider):
        async def token(self) -> str:
            return read_token(security)

    return Tokens()


def _kafka_python_tokens(security: SecuritySettings) -> Any:
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Tokens(AbstractTokenProvider):
        def token(self) -> str:
            return read_token(security)

    return Tokens()
