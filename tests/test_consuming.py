"""The consumers in docs/consuming.md run, on what a worker says of real orders, and say what they should.

Those in Python run on both brokers. kcat of Debian 12 does not understand the embedded one, so it has Kafka.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from agents.client import send
from agents.cluster import create_missing
from agents.settings import Settings
from samples.cdnow import messages
from samples.write import lines
from schemas.decisions import ChurnAlert, CustomerScore
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, SEGMENT_CHANGES
from tests.live.harness import ROOT, Worker, own_settings, payloads, produce_raw, read_topic

PAGE = (ROOT / "docs" / "consuming.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.S | re.M)


def block(kind: str, word: str) -> str:
    (body,) = (body for found, body in BLOCKS if found == kind and word in body)
    return body


class Said:
    """What a worker has said, and a way to run a block against it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, kind: str, word: str, command: list[str]) -> str:
        """Run a block, with topics and a group that no other test has."""
        body = block(kind, word).replace("retention-team", self.settings.kafka.group + "-reader")
        for name in (CHURN_ALERTS, SEGMENT_CHANGES, CUSTOMER_SCORES, "orders.dlq"):
            body = re.sub(rf'(?<=["\s]){name}(?=["\s])', self.settings.topic(name), body)
        surroundings = os.environ | {"KAFKA": self.settings.kafka.bootstrap, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, body], env=surroundings, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def python(self, word: str) -> list[str]:
        return self.run("python", word, [sys.executable, "-c"]).splitlines()

    def kcat(self, word: str) -> str:
        if shutil.which("kcat") is None:
            pytest.fail("no kcat: the Debian package kcat brings it", pytrace=False)
        return self.run("sh", word, ["bash", "-euo", "pipefail", "-c"])


@pytest.fixture(scope="module")
def said(live_broker: dict[str, object]) -> Said:
    """The orders of CDNOW's 1/10 sample, and everything that a worker makes of them."""
    settings = own_settings(live_broker, topics__partitions=2, reviews__horizon_days=84.0)
    create_missing(settings)
    sent = send(settings, lines(messages("tenth"))).messages
    produce_raw(settings, "orders", [b"oops"])
    with Worker(settings) as worker:
        worker.until_processed(sent + 1)
        assert worker.stop() == 0, worker.said()
    return Said(settings)


@pytest.mark.broker
def test_the_consumer_of_alerts_names_each_raised_once(said: Said) -> None:
    printed = said.python("churn-alerts")
    alerts = payloads(said.settings, CHURN_ALERTS, ChurnAlert)
    raised = {alert.id: alert for alert in alerts if alert.state == "raised"}
    assert len(printed) == len(raised) > 50
    assert sorted(re.findall(r"^call (\w+): ", line)[0] for line in printed) == sorted(
        alert.customer_id for alert in raised.values()
    )
    assert said.python("churn-alerts") == []  # it has committed


@pytest.mark.broker
def test_the_table_of_scores_has_the_latest_of_each_customer(said: Said) -> None:
    head, *rows = said.python("customer-scores")
    latest = {score.customer_id: score for score in payloads(said.settings, CUSTOMER_SCORES, CustomerScore)}
    assert head == f"{len(latest)} customers"
    assert len(latest) > 2_000
    assert len(rows) == 5
    for row in rows:
        customer_id, *_ = row.split()
        assert f"{latest[customer_id].risk:.2f}" in row


@pytest.mark.broker
def test_the_types_read_every_segment_change(said: Said) -> None:
    (line,) = said.python("segment-changes")
    changes = len(read_topic(said.settings, SEGMENT_CHANGES))
    assert re.fullmatch(rf"{changes} changes, [1-9]\d* to inactive", line)


@pytest.mark.kafka
def test_kcat_prints_every_alert_with_its_customer(said: Said) -> None:
    printed = said.kcat("churn-alerts").splitlines()
    alerts = payloads(said.settings, CHURN_ALERTS, ChurnAlert)
    assert len(printed) == len(alerts)
    for line in printed:
        key, _, value = line.partition("\t")
        assert json.loads(value)["customer_id"] == key


@pytest.mark.kafka
def test_kcat_prints_the_last_scores_and_what_a_dead_letter_says(said: Said) -> None:
    printed = said.kcat("orders.dlq")
    assert "holdfast.reason=not_json" in printed
    assert printed.rstrip().endswith("oops")
    assert printed.count('"crosses_at"') == 20  # ten of each of two partitions
