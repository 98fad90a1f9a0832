"""The real Prometheus beside real workers: every query of every panel and rule has something to show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from agents.client import send
from agents.cluster import create_missing
from agents.settings import Settings
from deploy.grafana.panels import DASHBOARDS
from samples.cdnow import messages
from schemas.codec import encode
from tests.live.harness import Worker, own_settings, until
from tests.watch.prometheus import RULES, Prometheus, free_port

pytestmark = pytest.mark.watch

SELECTOR = re.compile(r"holdfast[a-z0-9_:]*(?:\{[^}]*\})?|(?:up|process_\w+)\{[^}]*\}")


class Watched(NamedTuple):
    """What is being watched, and by whom."""

    settings: Settings
    prometheus: Prometheus


def demo() -> list[bytes]:
    """A real shop's first orders, some of them twice or late, with clicks and messages that are none."""
    orders = [encode(message) for message in islice(messages("tenth"), 5_000)]
    click = (
        b'{"type":"track","event":"Product Viewed","messageId":"k-%d","userId":"c-1",'
        b'"timestamp":"1998-01-01T00:%02d:00Z","properties":{}}'
    )
    clicks = [click % (minute, minute) for minute in range(50)]
    bad = [b'{"type":"track","event":"Order Completed","messageId":"b","userId":"c","timestamp":"x"}'] * 3
    # Ids are remembered for days: what is sent again at once is a duplicate, what is a year old is late.
    return [*orders[:4_000], *orders[3_950:4_000], *clicks, *bad, *orders[100:120], *orders[4_000:]]


@pytest.fixture(scope="module")
def watched(live_broker: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One worker for customers and one that learns, as in `docker-compose.yml`."""
    settings = own_settings(
        live_broker, web__port=free_port(), topics__partitions=2, worker__agents=("customers",)
    )
    learns = msgspec.structs.replace(
        settings,
        web=msgspec.structs.replace(settings.web, port=free_port()),
        worker=msgspec.structs.replace(settings.worker, agents=("learner",)),
    )
    create_missing(settings)
    folder: Path = tmp_path_factory.mktemp("prometheus")
    targets = [f"127.0.0.1:{each.web.port}" for each in (settings, learns)]
    with Worker(settings) as worker, Worker(learns) as learner, Prometheus(folder, targets) as prometheus:
        worker.until_ready()
        # A rate sees the first time something happens only if it was asked before.
        until(lambda: bool(prometheus.values("holdfast_records_total")), "the first answer of the worker")
        # In parts: all at once it could be over before there is a model that would alert about anybody.
        sent = demo()
        send(settings, sent[:3_000], as_is=True)
        until(lambda: learner.metrics().get("holdfast_learned_examples_total", 0.0) > 5_000, "learned")
        rest = iter(sent[3_000:3_900])

        def adopted() -> bool:
            send(settings, islice(rest, 20), as_is=True)  # an epoch without a record ends without a new model
            return worker.metrics().get("holdfast_model_examples", 0.0) > 5_000

        until(adopted, "a model in force")
        send(settings, [*rest, *sent[3_900:]], as_is=True)
        worker.until_processed(len(sent))
        until(lambda: bool(prometheus.values("holdfast_expert_log_loss")), "the first judged answer")
        yield Watched(settings, prometheus)
        assert (worker.stop(), learner.stop()) == (0, 0)


def queries() -> Iterator[tuple[str, str]]:
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query, _ in panel.queries:
                yield f"{dashboard.title} / {panel.title}", query.replace("$__rate_interval", "1m")
    for file in RULES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield rule["record"], rule["record"]
                    yield rule["record"], rule["expr"]
                else:  # it fires only when something is wrong; what it looks at must be there all the time
                    for selector in SELECTOR.findall(rule["expr"]):
                        yield rule["alert"], selector


def test_every_query_of_every_panel_and_rule_returns_data(watched: Watched) -> None:
    asked = list(queries())
    assert len(asked) > 100
    assert {name for name, _ in asked if name.startswith("Holdfast")} >= {"HoldfastDrift", "HoldfastNoWorker"}
    left = asked

    def all_answered() -> bool:
        nonlocal left
        left = [(name, query) for name, query in left if not watched.prometheus.values(query)]
        return not left

    try:
        until(all_answered, "every query answered")
    except AssertionError:
        pytest.fail("no data:\n" + "\n".join(f"{name}: {query}" for name, query in left))


def test_rules_are_evaluated_without_an_error(watched: Watched) -> None:
    rules = [rule for group in watched.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 25
    assert [(r["name"], r["lastError"]) for r in rules if r.get("lastError")] == []
    until(
        lambda: all(
            rule["health"] == "ok"
            for group in watched.prometheus.ask("rules")["groups"]
            for rule in group["rules"]
        ),
        "every rule evaluated",
    )


def test_what_is_shown_is_what_was_sent(watched: Watched) -> None:
    """The sums agree with each other and with the input."""

    def one(query: str) -> float:
        (value,) = watched.prometheus.values(query)
        return value

    until(lambda: one("sum(holdfast_records_total)") == len(demo()), "the last records seen by Prometheus")
    again = {what: one(f'sum(holdfast_records_total{{outcome="{what}"}})') for what in ("duplicate", "late")}
    assert 0 < again["duplicate"] <= 50
    assert sum(again.values()) >= 70
    assert one('sum(holdfast_dead_letters_total{reason="bad_time"})') == 3
    until(
        lambda: (
            one('sum(holdfast_segment_customers{dimension="rfm"})') == one("sum(holdfast_band_customers)")
            and one("sum(holdfast_customers)") - 1 == one("sum(holdfast_band_customers)")
        ),
        "the census has seen everybody but the customer who only clicked",
    )
    raised, resolved = (f'sum(holdfast_alerts_total{{state="{state}"}})' for state in ("raised", "resolved"))
    until(lambda: one("sum(holdfast_open_episodes)") == one(f"{raised} - {resolved}"), "open episodes")
    until(lambda: one("sum(holdfast_waiting_records)") == 0, "nothing waits")
    until(
        lambda: one("max(holdfast:label_delay_seconds)") >= 30 * 86_400, "label delay of a horizon at least"
    )
    # A recorded value is a second behind what it is made of.
    until(
        lambda: 0 < one("holdfast:money_at_risk") == one("sum(holdfast_open_value_at_risk)"),
        "money at risk recorded",
    )
    assert one("holdfast:money_at_risk") < one("sum(holdfast_predicted_value)")
