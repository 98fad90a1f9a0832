"""The topics on a cluster: what should be there, what is, and making what is missing.

One partition number holds everything about a customer on every topic, so the two inputs must have the
same number of partitions and every topic about customers must follow them; what is learned once for the
shop has one partition. A cluster that breaks this would not fail: it would decide about a customer from
half of the events. So it is checked before anything is read. Two policies matter as much: state topics
must be compacted and never deleted from, because a restart begins from them. How long the inputs are
kept is the shop's business, and the broker's default applies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from agents.connection import kafka_python_arguments
from agents.errors import EXIT_TRY_AGAIN, OperatorError
from agents.refusal import why_refused
from agents.settings import Settings
from schemas.topics import ERASURES, EXAMPLES, INPUTS, MODELS, TOPICS, TopicSpec
from streams.config import DAY_MS

Role = Literal["input", "output", "internal", "dead"]
ROLES: tuple[Role, ...] = ("input", "output", "internal", "dead")

CONNECT_MS = 5_000
_CREATE_MS = 20_000
_LEARNING_KEPT_MS = 30 * DAY_MS
_DEAD_LETTERS_KEPT_MS = 14 * DAY_MS
_REQUESTS_KEPT_MS = 7 * DAY_MS
_COMPACTED_WITHIN_MS = 7 * DAY_MS


class BrokerAbsent(OperatorError):  # noqa: N818 - a state of the world, named after it
    """Nothing that speaks Kafka answers where the settings say."""

    exit_code = EXIT_TRY_AGAIN

    def __init__(self, bootstrap: str) -> None:
        super().__init__(
            f"no Kafka broker answers at {bootstrap}; `holdfast broker` runs one for trying things, "
            "kafka.bootstrap names another"
        )


class BrokerRefusal(OperatorError):  # noqa: N818 - as above
    """Something answers where the settings say, but does not let us in."""


def not_reached(settings: Settings) -> OperatorError:
    """Say why a client could not reach the cluster, in one line."""
    reason = why_refused(settings)
    if reason is None:
        return BrokerAbsent(settings.kafka.bootstrap)
    return BrokerRefusal(f"the broker at {settings.kafka.bootstrap} does not let us in: {reason}")


class LayoutError(OperatorError):
    """The topics are not as they must be.

    Parameters
    ----------
    problems
        One line for each thing that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TopicRow(msgspec.Struct, frozen=True):
    """A topic as it should be and as it is.

    Attributes
    ----------
    name
        On the cluster.
    partitions, expected
        As it is (None when it is not there), and as it should be.
    cleanup
        The policy that it is created with.
    """

    name: str
    role: Role
    partitions: int | None
    expected: int
    cleanup: str
    payload: str
    about: str


@contextmanager
def admin(settings: Settings) -> Iterator[Any]:
    """Connect kafka-python's admin client.

    Raises
    ------
    BrokerAbsent
        When nothing answers within five seconds.
    OperatorError
        When the broker refuses what is asked of it.
    """
    try:
        client = KafkaAdminClient(
            **kafka_python_arguments(settings),
            bootstrap_timeout_ms=CONNECT_MS,
            request_timeout_ms=int(settings.kafka.request_timeout_seconds * 1000),
        )
    except KafkaError:
        raise not_reached(settings) from None
    try:
        yield client
    except KafkaError as error:
        raise OperatorError(f"the broker at {settings.kafka.bootstrap} answers: {error}"[:300]) from None
    finally:
        client.close()


def create_missing(settings: Settings, roles: Collection[Role] = ROLES) -> list[str]:
    """Create the topics that are not there.

    The inputs get `topics.partitions` where neither exists, otherwise as many as the one that does.

    Parameters
    ----------
    settings
        Where, and how the topics are named and replicated.
    roles
        Which of them: a worker leaves the inputs to the shop.

    Returns
    -------
    list of str
        The names of those created.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        When the inputs differ in partitions or the broker refuses a topic.
    """
    with admin(settings) as client:
        there = _partition_counts(client)
        per_customer = _customer_partitions(settings, there)
        missing = {
            settings.topic(spec.name): {
                "num_partitions": per_customer if spec.per_customer else 1,
                "replication_factor": settings.topics.replication,
                "configs": topic_configs(spec),
            }
            for spec in TOPICS
            if spec.role in roles and settings.topic(spec.name) not in there
        }
        if not missing:
            return []
        answer = client.create_topics(missing, timeout_ms=_CREATE_MS, raise_errors=False)
        refused = []
        for topic in answer["topics"]:
            error = for_code(topic["error_code"])
            # Somebody else may have made it since we looked; check_layout says whether it is right.
            if topic["error_code"] != 0 and error is not TopicAlreadyExistsError:
                reason = topic.get("error_message") or error.description or error.__name__
                refused.append(f"the broker refuses to create {topic['name']}: {reason}")
        if refused:
            raise LayoutError(refused)
        client.wait_for_topics(list(missing), timeout_ms=_CREATE_MS)
        return list(missing)


def topic_configs(spec: TopicSpec) -> dict[str, str]:
    """Give the configuration that a topic is created with.

    Examples
    --------
    >>> from schemas.topics import TOPIC_BY_NAME
    >>> topic_configs(TOPIC_BY_NAME["customers-changelog"])
    {'cleanup.policy': 'compact', 'max.compaction.lag.ms': '604800000'}
    >>> topic_configs(TOPIC_BY_NAME["orders"])
    {'cleanup.policy': 'delete'}
    """
    configs: dict[str, str] = {"cleanup.policy": spec.cleanup}
    if spec.role == "dead":
        configs["retention.ms"] = str(_DEAD_LETTERS_KEPT_MS)
    elif spec.name in (EXAMPLES, MODELS) and spec.cleanup == "delete":
        configs["retention.ms"] = str(_LEARNING_KEPT_MS)
    elif spec.name == ERASURES:
        configs["retention.ms"] = str(_REQUESTS_KEPT_MS)
    elif spec.per_customer and spec.cleanup == "compact":
        # Kafka's own default is no limit: what a tombstone has erased could stay for ever in a quiet topic.
        configs["max.compaction.lag.ms"] = str(_COMPACTED_WITHIN_MS)
    return configs


def check_layout(settings: Settings, roles: Collection[Role] = ROLES) -> None:
    """Check that the topics are there and fit together.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        With one line for each missing topic, each wrong number of partitions, and each state topic
        that the broker may delete from.
    """
    with admin(settings) as client:
        there = _partition_counts(client)
        per_customer = _customer_partitions(settings, there)
        problems = []
        for spec in TOPICS:
            if spec.role not in roles:
                continue
            name, expected = settings.topic(spec.name), per_customer if spec.per_customer else 1
            if name not in there:
                kind = "input topic" if spec.role == "input" else "topic"
                problems.append(f"{kind} {name} does not exist; `holdfast topics --create` makes it")
            elif there[name] != expected:
                problems.append(f"{name} has {there[name]} partitions where {expected} are needed")
        if "internal" in roles:
            problems += _deleting_state_topics(client, settings, there)
    if problems:
        raise LayoutError(problems)


def _deleting_state_topics(client: Any, settings: Settings, there: dict[str, int]) -> list[str]:
    names = [
        settings.topic(spec.name) for spec in TOPICS if spec.role == "internal" and spec.cleanup == "compact"
    ]
    resources = [ConfigResource("TOPIC", name) for name in names if name in there]
    if not resources:
        return []
    configs = client.describe_configs(resources, config_filter="all").get("topic", {})
    problems = []
    for name, config in configs.items():
        # The embedded broker gives back only what was set; a topic that it made by itself says nothing.
        policy = config.get("cleanup.policy", {}).get("value") or "compact"
        if policy != "compact":
            problems.append(f"{name} has cleanup.policy={policy} and would lose state; set it to compact")
    return problems


def partition_counts(settings: Settings, names: Collection[str]) -> dict[str, int]:
    """Count the partitions of topics, by their real names.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        With one line for each topic that is not there.
    """
    with admin(settings) as client:
        there = _partition_counts(client)
    problems = [
        f"topic {name} does not exist; `holdfast topics --create` makes it"
        for name in names
        if name not in there
    ]
    if problems:
        raise LayoutError(problems)
    return {name: there[name] for name in names}


def topic_ids(settings: Settings) -> dict[str, str]:
    """Give the id that the cluster gave each topic that a worker reads on from an offset of its own.

    Returns
    -------
    dict
        By real name; empty where the cluster gives no ids.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    """
    names = [settings.topic(name) for name in (*INPUTS, ERASURES, EXAMPLES)]
    with admin(settings) as client:
        topics = client.describe_topics(names)
    ids = {topic["name"]: str(topic.get("topic_id") or "") for topic in topics}
    return {name: given for name, given in ids.items() if given.strip("0-")}


def describe(settings: Settings) -> list[TopicRow]:
    """List every topic as it should be and as it is.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        When the inputs differ in partitions: then nothing else can be said to be right.
    """
    with admin(settings) as client:
        there = _partition_counts(client)
    per_customer = _customer_partitions(settings, there)
    return [
        TopicRow(
            name=settings.topic(spec.name),
            role=spec.role,
            partitions=there.get(settings.topic(spec.name)),
            expected=per_customer if spec.per_customer else 1,
            cleanup=spec.cleanup,
            payload=spec.payload,
            about=spec.about,
        )
        for spec in TOPICS
    ]


def _partition_counts(client: Any) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics()}


def _customer_partitions(settings: Settings, there: dict[str, int]) -> int:
    counts = {
        settings.topic(name): there[settings.topic(name)] for name in INPUTS if settings.topic(name) in there
    }
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{name} {count}" for name, count in counts.items())
        raise LayoutError([f"the input topics must have the same number of partitions: {said}"])
    return next(iter(counts.values()), settings.topics.partitions)
