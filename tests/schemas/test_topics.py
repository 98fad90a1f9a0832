"""The table of topics: what everybody relies on who creates, reads or writes one."""

from __future__ import annotations

import re

import pytest

from schemas.topics import (
    CHANGELOG,
    CUSTOMER_SCORES,
    EXAMPLES,
    INPUTS,
    LEARNER_CHECKPOINT,
    MODELS,
    RETENTION_KPIS,
    TOPIC_BY_NAME,
    TOPICS,
    TopicSpec,
    dead_letters_of,
)

ALL = pytest.mark.parametrize("spec", TOPICS, ids=lambda spec: spec.name)


def test_names_are_unique() -> None:
    assert len({spec.name for spec in TOPICS}) == len(TOPICS)
    assert {name: spec.name for name, spec in TOPIC_BY_NAME.items()} == {s.name: s.name for s in TOPICS}


@ALL
def test_a_name_is_one_that_kafka_takes_with_room_for_a_prefix(spec: TopicSpec) -> None:
    """Dots and underscores collide in metric names, so only the dead letters have a dot."""
    assert re.fullmatch(r"[a-z][a-z-]{0,99}(\.dlq)?", spec.name)


@ALL
def test_a_topic_says_what_it_is_about_in_one_line(spec: TopicSpec) -> None:
    assert spec.about
    assert "\n" not in spec.about
    assert spec.payload
    assert spec.key


def test_the_inputs_are_the_topics_with_the_role() -> None:
    assert [spec.name for spec in TOPICS if spec.role == "input"] == list(INPUTS)


@pytest.mark.parametrize("topic", [*INPUTS, EXAMPLES])
def test_whatever_is_read_has_dead_letters_partitioned_like_it(topic: str) -> None:
    dead = TOPIC_BY_NAME[dead_letters_of(topic)]
    assert dead.role == "dead"
    assert dead.per_customer == TOPIC_BY_NAME[topic].per_customer
    assert dead.cleanup == "delete"
    assert dead.key == "as it came"


def test_there_are_no_other_dead_letters() -> None:
    dead = {spec.name for spec in TOPICS if spec.role == "dead"}
    assert dead == {dead_letters_of(topic) for topic in (*INPUTS, EXAMPLES)}


@ALL
def test_what_is_partitioned_by_customer_is_keyed_by_customer_first(spec: TopicSpec) -> None:
    if spec.per_customer and spec.role != "dead":
        assert spec.key.startswith("customer id")


@ALL
def test_every_output_has_a_schema_and_nothing_else_has(spec: TopicSpec) -> None:
    assert (spec.schema is not None) == (spec.role == "output")
    if spec.schema is not None:
        assert spec.payload == spec.schema.__name__


@ALL
def test_what_is_keyed_by_customer_names_the_customer_in_the_payload(spec: TopicSpec) -> None:
    if spec.schema is not None:
        key = {"customer id": "customer_id", "model version": "model_version", "day": "day"}[spec.key]
        assert key in spec.schema.__struct_fields__
        assert "version" in spec.schema.__struct_fields__


def test_only_what_a_restart_or_a_late_reader_needs_is_compacted() -> None:
    compacted = {spec.name for spec in TOPICS if spec.cleanup == "compact"}
    assert compacted == {CUSTOMER_SCORES, RETENTION_KPIS, CHANGELOG, LEARNER_CHECKPOINT}


def test_what_is_learned_once_for_the_shop_has_one_partition() -> None:
    single = {spec.name for spec in TOPICS if not spec.per_customer}
    assert single == {EXAMPLES, MODELS, RETENTION_KPIS, LEARNER_CHECKPOINT, dead_letters_of(EXAMPLES)}
