"""Every topic: what it carries, how it is keyed, how long it is kept.

All topics that speak of customers are keyed by customer and have as many partitions as the two
inputs, so that one partition number holds everything about a customer on every topic. What is
learned is learned once for the whole shop, so those topics have one partition.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.kpis import RetentionKpis
from schemas.learning import Example, ModelSnapshot

Cleanup = Literal["delete", "compact"]


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One topic.

    Attributes
    ----------
    name
        Its name, before the prefix that the settings may add.
    role
        `input`, `output` for others to read, `internal` for Holdfast alone, `dead` for dead letters.
    key
        What the record key is.
    per_customer
        True when it is partitioned like the inputs, False when it has one partition.
    cleanup
        Kafka's `cleanup.policy`.
    payload
        The message type, or what the bytes are.
    about
        One line for people.
    """

    name: str
    role: Literal["input", "output", "internal", "dead"]
    key: str
    per_customer: bool
    cleanup: Cleanup
    payload: str
    about: str
    schema: type[msgspec.Struct] | None = None


CLICKSTREAM = "clickstream"
ORDERS = "orders"
CHURN_ALERTS = "churn-alerts"
SEGMENT_CHANGES = "segment-changes"
CUSTOMER_SCORES = "customer-scores"
EXAMPLES = "examples"
MODELS = "models"
RETENTION_KPIS = "retention-kpis"
CHANGELOG = "customers-changelog"
LEARNER_CHECKPOINT = "learner-checkpoint"
ERASURES = "erasures"

INPUTS = (CLICKSTREAM, ORDERS)
"""The input topics, in the order in which records of the same event time are taken."""


def dead_letters_of(topic: str) -> str:
    """Name the dead-letter topic of a topic.

    Examples
    --------
    >>> dead_letters_of("orders")
    'orders.dlq'
    """
    return f"{topic}.dlq"


def _input(name: str, about: str) -> TopicSpec:
    return TopicSpec(
        name=name,
        role="input",
        key="customer id",
        per_customer=True,
        cleanup="delete",
        payload="Segment spec message",
        about=about,
    )


def _output(name: str, schema: type[msgspec.Struct], cleanup: Cleanup, about: str) -> TopicSpec:
    return TopicSpec(
        name=name,
        role="output",
        key="customer id",
        per_customer=True,
        cleanup=cleanup,
        payload=schema.__name__,
        about=about,
        schema=schema,
    )


def _dead(name: str) -> TopicSpec:
    return TopicSpec(
        name=dead_letters_of(name),
        role="dead",
        key="as it came",
        per_customer=True,
        cleanup="delete",
        payload="the bytes as they came",
        about=f"messages on {name} that break the contract, with origin and reason in the headers",
    )


TOPICS: tuple[TopicSpec, ...] = (
    _input(CLICKSTREAM, "what customers do in the shop"),
    _input(ORDERS, "orders, their updates, refunds and cancellations"),
    _output(CHURN_ALERTS, ChurnAlert, "delete", "who is about to leave, why, and when they came back"),
    _output(SEGMENT_CHANGES, SegmentChange, "delete", "who entered which segment, and left which"),
    _output(CUSTOMER_SCORES, CustomerScore, "compact", "the latest risk, value and segment of each customer"),
    TopicSpec(
        name=EXAMPLES,
        role="output",
        key="customer id",
        per_customer=False,
        cleanup="delete",
        payload=Example.__name__,
        about="questions with frozen features, the risk served then, and the answer",
        schema=Example,
    ),
    TopicSpec(
        name=MODELS,
        role="output",
        key="model version",
        per_customer=False,
        cleanup="delete",
        payload=ModelSnapshot.__name__,
        about="each served model as plain numbers",
        schema=ModelSnapshot,
    ),
    TopicSpec(
        name=RETENTION_KPIS,
        role="output",
        key="day",
        per_customer=False,
        cleanup="compact",
        payload=RetentionKpis.__name__,
        about="each day of event time: customers and value by segment, churn, losses to come, alerts",
        schema=RetentionKpis,
    ),
    TopicSpec(
        name=CHANGELOG,
        role="internal",
        key="customer id, and one marker a partition",
        per_customer=True,
        cleanup="compact",
        payload="states in a form of their own, markers as msgpack",
        about="customer state and epoch markers: what a restart begins from",
    ),
    TopicSpec(
        name=LEARNER_CHECKPOINT,
        role="internal",
        key="constant",
        per_customer=False,
        cleanup="compact",
        payload="msgpack",
        about="the learner's state with the offset it stands for",
    ),
    TopicSpec(
        name=ERASURES,
        role="internal",
        key="customer id",
        per_customer=True,
        cleanup="delete",
        payload="JSON",
        about="requests of `holdfast forget`: whom to erase, and up to where",
    ),
    _dead(CLICKSTREAM),
    _dead(ORDERS),
    TopicSpec(
        name=dead_letters_of(EXAMPLES),
        role="dead",
        key="as it came",
        per_customer=False,
        cleanup="delete",
        payload="the bytes as they came",
        about="examples that the learner could not read",
    ),
)

TOPIC_BY_NAME = {spec.name: spec for spec in TOPICS}
