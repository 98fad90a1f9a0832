"""Why a broker did not let us in: what the clients do not tell.

A client that cannot connect tries again until its time is up and then says that its time is up: an
untrusted certificate, a listener that wants TLS and a mechanism that it does not offer all look like a
broker that is not there. So does a refused login most of the time: the broker says so and closes the
connection, and a client that reads both at once keeps the second. So when one has given up, the steps of a
connection are taken once more by hand, one by one, and the first that fails has a name.

A reason is given only where it is certain. What merely closes connections, such as a proxy before a broker
that is starting again, counts as a broker that is not there, which may well be there a moment later.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any

from kafka.net.sasl import get_sasl_mechanism

from agents.broker import answers
from agents.connection import kafka_python_arguments
from agents.sections import SecuritySettings
from agents.settings import Settings

_SECONDS = 3.0
_MOST_BYTES = 1_000_000
_API_VERSIONS = (18, 0)
_SASL_HANDSHAKE = (17, 1)
_SASL_AUTHENTICATE = (36, 0)
_UNSUPPORTED_MECHANISM = 33
_LOGIN_FAILED = 58


def why_refused(settings: Settings) -> str | None:
    """Find out why something that listens does not let us in.

    Parameters
    ----------
    settings
        Where the brokers are, and how to log in.

    Returns
    -------
    str or None
        The reason; None when nobody listens, or when nothing is wrong that can be seen from here.
    """
    arguments = kafka_python_arguments(settings)
    for broker in settings.kafka.bootstrap.split(","):
        host, _, port = broker.rpartition(":")
        reason = _first_steps(settings.security, host.strip("[]"), int(port), arguments)
        if reason is not None:
            return reason
    return None


def _first_steps(security: SecuritySettings, host: str, port: int, arguments: dict[str, Any]) -> str | None:
    context: ssl.SSLContext | None = arguments.get("ssl_context")
    try:
        connection = socket.create_connection((host, port), _SECONDS)
    except OSError:
        return None
    with connection:
        if context is None:
            if not answers(host, port, _SECONDS):
                wants_tls = _speaks_tls(host, port)
                return f"it wants TLS, and security.protocol is {security.protocol}" if wants_tls else None
            return _talk(security, connection, arguments)
        try:
            encrypted = context.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not trusted ({error.verify_message.rstrip('.')})"
        except OSError:
            if answers(host, port, _SECONDS):
                return f"it does not speak TLS, and security.protocol is {security.protocol}"
            return None
        with encrypted:
            return _talk(security, encrypted, arguments)


def _speaks_tls(host: str, port: int) -> bool:
    """Tell whether a listener speaks TLS, whoever it is: nothing is said to it but hello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _SECONDS) as connection, context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it speaks TLS, if only to refuse
    except OSError:
        return False


def _talk(security: SecuritySettings, connection: socket.socket, arguments: dict[str, Any]) -> str | None:
    try:
        _ask(connection, _API_VERSIONS, b"")
    except TimeoutError:
        return None
    except OSError:  # with TLS 1.3 a certificate is refused after the handshake
        if security.certificate_file:
            return f"it does not accept the certificate in {security.certificate_file}"
        return (
            "it wants a certificate, and security.certificate_file is empty" if security.encrypted else None
        )
    wanted = security.mechanism if security.logs_in else "none"
    try:
        # Without a login of ours this is a question all the same: the answer is what the listener offers.
        answer = _ask(connection, _SASL_HANDSHAKE, struct.pack(">h", len(wanted)) + wanted.encode())
    except OSError:
        return None
    code, offered = _mechanisms(answer)
    if security.logs_in and code == _UNSUPPORTED_MECHANISM:
        return f"it does not offer {wanted}, but {' and '.join(offered)}; see security.mechanism"
    if security.logs_in and code:
        return f"it knows no login there, and security.protocol is {security.protocol}"
    if not security.logs_in and code == _UNSUPPORTED_MECHANISM:
        return f"it wants a login ({' or '.join(offered)}), and security.protocol is {security.protocol}"
    if security.logs_in and not _logs_in(connection, arguments):
        if security.mechanism == "OAUTHBEARER":
            return f"it refuses the token in {security.token_file}"
        return f"it refuses the login of {security.username} by {wanted}: wrong name or password"
    return None


def _logs_in(connection: socket.socket, arguments: dict[str, Any]) -> bool:
    """Log in; False when that is refused, True also when the connection breaks off."""
    mechanism = get_sasl_mechanism(arguments["sasl_mechanism"])(**arguments)
    try:
        while not mechanism.is_done():
            said = mechanism.auth_bytes()
            answer = _ask(connection, _SASL_AUTHENTICATE, struct.pack(">i", len(said)) + said)
            code, size = struct.unpack_from(">hh", answer)  # the size of a message, -1 without one
            if code == _LOGIN_FAILED:
                return False
            at = 4 + max(size, 0)
            (size,) = struct.unpack_from(">i", answer, at)
            mechanism.receive(answer[at + 4 : at + 4 + size])
    except OSError:
        return True
    except ValueError:  # the broker cannot prove that it knows the password
        return False
    return bool(mechanism.is_authenticated())


def _ask(connection: socket.socket, request: tuple[int, int], body: bytes) -> bytes:
    """Send one request of the Kafka protocol and give the body of the answer."""
    key, version = request
    message = struct.pack(">hhih", key, version, 0, -1) + body  # number 0, no client id
    connection.sendall(struct.pack(">i", len(message)) + message)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    if not 4 <= size <= _MOST_BYTES:
        raise ConnectionError("not an answer of the Kafka protocol")
    return _exactly(connection, size)[4:]


def _exactly(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = connection.recv(size - len(got))
        if not part:
            raise ConnectionError("closed")
        got += part
    return got


def _mechanisms(answer: bytes) -> tuple[int, list[str]]:
    r"""Read the answer to a SaslHandshake.

    Examples
    --------
    >>> _mechanisms(b"\x00\x21" + b"\x00\x00\x00\x01" + b"\x00\x05PLAIN")
    (33, ['PLAIN'])
    """
    code, count = struct.unpack_from(">hi", answer)
    at, names = 6, []
    for _ in range(count):
        (size,) = struct.unpack_from(">h", answer, at)
        names.append(answer[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return int(code), sorted(names)
