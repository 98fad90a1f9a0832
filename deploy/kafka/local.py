"""Apache Kafka on this machine without Docker: for tests, for development, for the fault bench.

The jars come from Maven (`pom.xml`), the brokers are plain Java processes on loopback (KRaft: each is
its own controller and they vote), and their data lies in a temporary folder that goes with them.
`python -m deploy.kafka.local` runs one until Ctrl-C; with a command behind it, the command runs with
`HOLDFAST_TEST_BROKER` set, and its exit code is ours. Where Java or Maven is missing it says so and fails.

A broker can be stopped and started again on its data, or killed: that is what the fault bench needs.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.broker import answers, die_with_parent

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / "target" / "lib"
HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 20.0

# Quick to start rather than fast for days.
_JVM = ("-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

_SETTINGS = {
    "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.partition.verification.enable": "true",
    "log.cleaner.backoff.ms": "500",  # tests wait for compaction
    "log.cleaner.delete.retention.ms": "86400000",
    "controlled.shutdown.enable": "true",
}


class KafkaStartError(RuntimeError):
    """Java, Maven or the jars are missing, or a broker does not come up."""


def fetch_jars() -> None:
    """Bring Kafka's jars by Maven, once; do nothing when they are there.

    Raises
    ------
    KafkaStartError
        When Java or Maven is missing, or Maven fails.
    """
    if not shutil.which("java"):
        raise KafkaStartError("Apache Kafka needs Java 17 or later (Debian: openjdk-17-jre-headless)")
    if any(LIBRARY.glob("kafka_*.jar")):
        return
    if not shutil.which("mvn"):
        raise KafkaStartError("Apache Kafka's jars come by Maven; none found (Debian: maven)")
    print("kafka: fetching Apache Kafka by Maven (44 MB, once)", file=sys.stderr, flush=True)
    done = subprocess.run(
        ["mvn", "-q", "-B", "-Dstyle.color=never", "dependency:copy-dependencies"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KafkaStartError(f"Maven cannot bring Apache Kafka:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Find ports that nobody has; all are held until all are found, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def _java(*arguments: str) -> list[str]:
    log = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
    return ["java", *_JVM, log, "-cp", f"{LIBRARY}/*", *arguments]


class _Broker:
    """One process and its folder."""

    def __init__(self, number: int, port: int, folder: Path, properties: Mapping[str, str]) -> None:
        self.number, self.port, self.folder = number, port, folder
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self.config = folder / "server.properties"
        self.config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        self.log = folder / "log"

    def format(self, cluster: str, scram: Sequence[str]) -> None:
        extra = [part for user in scram for part in ("--add-scram", user)]
        # With "=": one id in 64 begins with a dash, and would be taken for an option.
        named = [f"--cluster-id={cluster}", f"--config={self.config}"]
        command = _java("kafka.tools.StorageTool", "format", *named, *extra)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise KafkaStartError(
                f"Kafka cannot format its folder: {done.stdout[-1000:]}{done.stderr[-1000:]}"
            )

    def start(self, environment: Mapping[str, str]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                _java("kafka.Kafka", str(self.config)),
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop it last
                preexec_fn=die_with_parent(),
            )

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers(HOST, self.port):
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended at once" if ended else f"does not answer within {START_SECONDS:g} s"
                raise KafkaStartError(f"Kafka broker {self.number} {what}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class LocalKafka:
    """One broker or several on loopback; a context manager that starts and stops them.

    Parameters
    ----------
    brokers
        How many.
    settings
        More of Kafka's own settings, for all of them.
    listener
        Kafka's properties of one more listener, named CLIENT, for clients that must log in or encrypt:
        `protocol` (such as SASL_SSL) and settings without their prefix; see tests/kafka.
    scram
        Users of that listener, as StorageTool has them: `SCRAM-SHA-512=[name=ann,password=...]`.
    advertised_ports
        Where each broker says its further listener is, when there is a proxy in front of it.

    Examples
    --------
    ::

        with LocalKafka() as kafka:
            settings = load(None, {}, kafka.settings_overrides())
    """

    def __init__(
        self,
        brokers: int = 1,
        settings: Mapping[str, str] | None = None,
        listener: Mapping[str, str] | None = None,
        scram: Sequence[str] = (),
        advertised_ports: Sequence[int] = (),
    ) -> None:
        self._advertised_ports = advertised_ports
        self._count = brokers
        self._own = dict(settings or {})
        self._listener = dict(listener or {})
        self._scram = scram
        self._folder: Path | None = None
        self.brokers: list[_Broker] = []
        self.client_ports: list[int] = []

    def __enter__(self) -> Self:
        fetch_jars()
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-kafka-"))
        try:
            self._lay_out(self._folder)
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for broker in self.brokers:
            broker.end(signal.SIGKILL)  # the data goes with it: no need to close it well
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def bootstrap(self) -> str:
        """Where it answers without a login, as `kafka.bootstrap` has it."""
        return ",".join(f"{HOST}:{broker.port}" for broker in self.brokers)

    @property
    def client_bootstrap(self) -> str:
        """Where the further listener answers."""
        return ",".join(f"{HOST}:{port}" for port in self.client_ports)

    def settings_overrides(self) -> dict[str, object]:
        """Give the settings that lead to it, by dotted key."""
        return {"kafka.bootstrap": self.bootstrap, "topics.replication": min(self._count, 3)}

    def start(self) -> None:
        """Start every broker that is not running, on the data that it has, and wait until all answer."""
        for broker in self.brokers:
            if broker.process is None:
                broker.start({})
        for broker in self.brokers:
            broker.wait_until_it_answers()

    def stop(self, hard: bool = False) -> None:
        """Stop every broker and keep the data; `hard` is kill -9."""
        for broker in self.brokers:
            broker.end(signal.SIGKILL if hard else signal.SIGTERM)

    def _lay_out(self, folder: Path) -> None:
        ports = _free_ports(3 * self._count)
        plain, control = ports[: self._count], ports[self._count : 2 * self._count]
        self.client_ports = ports[2 * self._count :] if self._listener else []
        voters = ",".join(f"{number}@{HOST}:{port}" for number, port in enumerate(control, start=1))
        copies = str(min(self._count, 3))
        protocols = "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT"
        if self._listener:
            protocols += f",CLIENT:{self._listener['protocol']}"
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        for place in range(self._count):
            own = folder / f"broker-{place + 1}"
            open_to_all = advertised = f"PLAIN://{HOST}:{plain[place]}"
            if self._listener:
                told = self._advertised_ports or self.client_ports
                open_to_all += f",CLIENT://{HOST}:{self.client_ports[place]}"
                advertised += f",CLIENT://{HOST}:{told[place]}"
            properties = _SETTINGS | {
                "process.roles": "broker,controller",
                "node.id": str(place + 1),
                "controller.quorum.voters": voters,
                "controller.listener.names": "CONTROLLER",
                "inter.broker.listener.name": "PLAIN",
                "listeners": f"{open_to_all},CONTROLLER://{HOST}:{control[place]}",
                "advertised.listeners": advertised,
                "listener.security.protocol.map": protocols,
                "log.dirs": str(own / "data"),
                "offsets.topic.replication.factor": copies,
                "transaction.state.log.replication.factor": copies,
                "transaction.state.log.min.isr": "1",
            }
            client = {f"listener.name.client.{k}": v for k, v in self._listener.items() if k != "protocol"}
            broker = _Broker(place + 1, plain[place], own, properties | client | self._own)
            broker.format(cluster, self._scram)
            self.brokers.append(broker)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run brokers until Ctrl-C, or for as long as a command runs."""
    parser = argparse.ArgumentParser(prog="python -m deploy.kafka.local", description=main.__doc__)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="how many (default: 1)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="run this against them")
    options = parser.parse_args(arguments)
    try:
        with LocalKafka(options.brokers) as kafka:
            if options.command:
                found = os.environ | {"HOLDFAST_TEST_BROKER": kafka.bootstrap}
                return subprocess.run(options.command, env=found, check=False).returncode
            print(f"Apache Kafka at {kafka.bootstrap}; Ctrl-C stops it and everything is gone", flush=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            signal.pause()
    except KafkaStartError as error:
        print(f"kafka: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
