"""Topics as files, variants beside each other, what is suggested, and what is recomputed."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer

from agents.cli import main
from agents.client import send, watch
from agents.cluster import create_missing
from agents.from_topic import fetch
from agents.lines import Lines
from agents.records import Recorded, Records
from agents.replay import REPORT, RESULTS, replay_files
from agents.settings import Settings, load, settings_toml
from samples.shop import ShopConfig, messages
from samples.write import lines

OPTIONS = ("--set", "reviews.horizon_days=14", "--set", "learner.publish_every=20")
SHOP = ShopConfig(customers=25, days=170, seed=7, cancelled_share=0.2)


def apart(every: list[bytes]) -> list[bytes]:
    """Keep messages of strictly rising event time: their order between partitions is then known."""
    times = [orjson.loads(line)["timestamp"] for line in every]
    kept, newest = [], ""
    for line, moment in zip(every, times, strict=True):
        if moment > newest and b"originalTimestamp" not in line:
            kept.append(line)
            newest = moment
    return kept


@pytest.fixture(scope="module")
def shop() -> list[bytes]:
    return apart(list(lines(messages(SHOP))))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(shop: list[bytes]) -> str:
    Path("shop.jsonl").write_bytes(b"".join(shop))
    return "shop.jsonl"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="holdfast")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def failure(*arguments: str, code: int = 1) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("holdfast: ").rstrip("\n")


# Topics


@pytest.fixture
def on_topics(broker_settings: Settings, shop: list[bytes]) -> Settings:
    """A broker that has the shop on its topics, and a holdfast.toml that leads to it."""
    Path("holdfast.toml").write_text(settings_toml(broker_settings), encoding="utf-8")
    create_missing(broker_settings)
    send(broker_settings, shop)
    return broker_settings


@pytest.mark.broker
def test_a_replay_of_the_topics_is_that_of_the_file_byte_for_byte(on_topics: Settings, file: str) -> None:
    assert run("replay", *OPTIONS, "--out", "a", file).exit_code == 0
    again = run("replay", *OPTIONS, "--out", "b", "--from-topic", "inputs")
    assert again.exit_code == 0, again.output
    for name in RESULTS:
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    assert orjson.loads(Path("a", REPORT).read_bytes())["decisions"]["models"] > 3


@pytest.mark.broker
def test_bounds_cut_each_partition_by_record_time(on_topics: Settings, shop: list[bytes]) -> None:
    every = list(
        watch(on_topics, ["clickstream", "orders"], from_beginning=True, count=len(shop), timeout=20)
    )
    since, until = sorted(record.time_ms for record in every)[:: len(every) // 3][1:3]
    expected = []
    for place in {(record.topic, record.partition) for record in every}:
        own = [record for record in every if (record.topic, record.partition) == place]
        begun = [i for i, record in enumerate(own) if record.time_ms >= since]
        ended = [i for i, record in enumerate(own) if record.time_ms >= until]
        expected += own[begun[0] if begun else len(own) : ended[0] if ended else len(own)]
    found = fetched(on_topics, ["clickstream", "orders"], since, until)
    assert sorted(record.value or b"" for record in found) == sorted(r.value or b"" for r in expected)
    times = [orjson.loads(record.value or b"")["timestamp"] for record in found]
    assert times == sorted(times)


@pytest.mark.broker
def test_a_replay_of_topics_knows_their_headers_tombstones_and_which_is_which(
    broker_settings: Settings,
) -> None:
    """CloudEvents in binary mode beside rows of a database: nothing in the values says what they are."""
    change: dict[str, object] = {"sources.clickstream": "cloudevents", "sources.orders": "debezium"}
    settings = msgspec.structs.replace(broker_settings, sources=load(Path(os.devnull), {}, change).sources)
    Path("holdfast.toml").write_text(settings_toml(settings), encoding="utf-8")
    create_missing(settings)
    named = {"specversion": b"1.0", "source": b"/shop", "subject": b"17"}
    row = {"id": 1, "customer_id": 17, "total": "42.50", "created_at": "2025-11-28T10:16:00Z"}
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=False)
    for number in range(3):
        own = {"id": b"%d" % number, "type": b"product.added", "time": b"2025-11-28T10:1%d:00Z" % number}
        headers = [(f"ce_{name}", value) for name, value in {**named, **own}.items()]
        producer.send(settings.topic("clickstream"), b'{"op":\n"not a row"}', b"17", headers)
    for value in (b'{"op": "c",\r\n"after": %b}' % orjson.dumps(row), None):
        producer.send(settings.topic("orders"), value, b"1")
    producer.flush()
    producer.close()
    assert [record.value is None for record in fetched(settings, ["orders"])] == [False, True]
    assert [len(record.headers) for record in fetched(settings, ["clickstream"])] == [6, 6, 6]
    done = run("replay", "--out", "out", "--from-topic", "inputs")
    assert done.exit_code == 0, done.output
    report = orjson.loads(Path("out", REPORT).read_bytes())
    assert report["events"] == {
        "read": 5, "applied": 4, "anonymous": 1, "dead": 0, "duplicate": 0, "late": 0,
    }  # fmt: skip
    assert report["first_event"] == "2025-11-28T10:10:00.000Z"
    assert report["segments"]["new"] == report["customers"] == 1


def fetched(
    settings: Settings, names: list[str], since_ms: int | None = None, until_ms: int | None = None
) -> list[Recorded]:
    with Path("records").open("wb") as file:
        count = fetch(settings, names, since_ms, until_ms, file)
    found = list(Records(Path("records")))
    assert count == len(found)
    return found


@pytest.mark.broker
def test_topics_without_anything_in_the_time_asked_for_are_told(on_topics: Settings) -> None:
    later = f"{datetime.now(timezone.utc) + timedelta(days=2):%Y-%m-%d}"
    assert "in that time" in failure("replay", "--from-topic", "orders", "--since", later)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay",), "Name files, or topics with --from-topic."),
        (("replay", "a", "--from-topic", "orders"), "Name files, or topics with --from-topic."),
        (("replay", "a", "--since", "2026-01-01"), "--since and --until are for --from-topic."),
        (
            ("replay", "--from-topic", "orders", "--since", "2026-01-02", "--until", "2026-01-02"),
            "--since must be before --until.",
        ),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(arguments: tuple[str, ...], said: str) -> None:
    assert failure(*arguments, code=2).startswith(said)


def test_no_broker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents import cluster

    monkeypatch.setattr(cluster, "CONNECT_MS", 100)
    wrong = ("--set", "kafka.bootstrap=127.0.0.1:1", "replay", "--from-topic", "orders")
    assert failure(*wrong, code=75).startswith("no Kafka broker answers")


# Variants


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--set", "alerts.raise=0.7", "did you mean alerts.raise_at?"),
        ("--compare", "strict", "is not NAME: KEY=VALUE, KEY=VALUE"),
        ("--compare", "strict: alerts.raise=0.9", "did you mean alerts.raise_at?"),
        ("--compare", "strict: alerts.raise_at=high", "must be a number"),
        ("--compare", "strict: web.port=7000", "web.port changes no decision"),
        ("--compare", "../x: alerts.raise_at=0.9", "cannot name a variant"),
        ("--compare", "base: alerts.raise_at=0.9", "cannot name a variant"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(file: str, option: str, value: str, said: str) -> None:
    assert said in failure("replay", file, option, value)
    assert not Path("replay-out").exists()


def test_a_variant_is_the_replay_with_those_settings_and_differs_by_what_they_differ(file: str) -> None:
    strict = ("alerts.raise_at=0.9", "alerts.escalate_at=0.95")
    spec = f"strict: {', '.join(strict)}, segments.recency_days=20,40,80,160"
    compared = run("replay", *OPTIONS, file, "--resamples", "25", "--compare", spec)
    assert compared.exit_code == 0
    assert "\nstrict" in compared.stdout
    alone = [part for value in (*strict, "segments.recency_days=20,40,80,160") for part in ("--set", value)]
    assert run("replay", *OPTIONS, *alone, file, "--out", "alone").exit_code == 0
    for name in RESULTS:
        own = Path("replay-out", "variants", "strict", name).read_bytes()
        assert own == Path("alone", name).read_bytes()
    report = orjson.loads(Path("replay-out", REPORT).read_bytes())
    base, variant = report["comparison"]["variants"]
    for content, figures in ((report, base), (orjson.loads(Path("alone", REPORT).read_bytes()), variant)):
        alerts, own_figures = content["evaluation"]["alerts"], figures["figures"]
        assert own_figures["mean_lead_days"]["value"] == pytest.approx(alerts["lead_days"]["mean"])
        assert own_figures["precision"]["value"] == alerts["precision"]
        assert own_figures["money_found"]["value"] == pytest.approx(alerts["money_found"])
    assert set(variant["changed"]) == {"alerts.raise_at", "alerts.escalate_at", "segments.recency_days"}
    for name, difference in variant["differences"].items():
        values = variant["figures"][name]["value"], base["figures"][name]["value"]
        if None not in values:
            assert difference["value"] == pytest.approx(values[0] - values[1])
    assert variant["differences"]["log_loss"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert variant["differences"]["alerts_per_day"]["value"] < 0.0
    assert run("replay", *OPTIONS, file).exit_code == 0
    assert not Path("replay-out", "variants").exists()  # results replace those of the replay before


# The page


class Page(HTMLParser):
    """Collects the tags that are open, what was never closed, and what would be fetched."""

    EMPTY = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "onload")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_fetches_nothing_and_shows_the_figures_of_the_report(file: str) -> None:
    variant = "wide: alerts.raise_at=0.75"
    assert run("replay", *OPTIONS, file, "--resamples", "25", "--compare", variant).exit_code == 0
    text = Path("replay-out", "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") in (2 * 4, 2 * 5)  # each plot in two sizes
    assert not re.search(r"https?:|url\(|@import|nan", text)
    report = orjson.loads(Path("replay-out", REPORT).read_bytes())
    assert f"{report['evaluation']['quality']['auc']:.4f}" in text
    assert f"{report['evaluation']['alerts']['right']:,} right" in text
    assert "<th><span>wide<" in text


def test_a_replay_of_nothing_has_a_page_too() -> None:
    Path("empty.jsonl").write_bytes(b"")
    assert run("replay", "empty.jsonl").exit_code == 0
    assert "Nothing to show" in Path("replay-out", "report.html").read_text(encoding="utf-8")


# Verify


def test_every_alert_of_a_replay_can_be_recomputed(tmp_path: Path) -> None:
    """Disorder, cancellations and late records among them; `withdraw` ends episodes."""
    rough = ShopConfig(customers=80, days=200, seed=3, cancelled_share=0.4, disorder_ms=7_200_000)
    Path("rough.jsonl").write_bytes(b"".join(lines(messages(rough))))
    assert run("replay", *OPTIONS, "rough.jsonl").exit_code == 0
    done = run(*OPTIONS, "verify", "rough.jsonl", "--outputs", "replay-out")
    count = len(Path("replay-out", "alerts.jsonl").read_bytes().splitlines())
    assert count > 20
    assert done.stdout == f"{count} alerts recomputed, all the same\n"
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"risk": 0.5}, "risk 0.5 should be "),
        ({"band": "low"}, "band low should be "),
        ({"state": "escalated"}, "step escalated by risk should be "),
        ({"reasons": []}, "reasons [] should be [log_"),
        ({"model_version": "lr-7"}, "there is no model lr-7"),
        ({"event_time": "2030-03-03T03:03:03Z"}, "nothing in the log leads to it"),
        ({"customer_id": "nobody"}, "nothing in the log leads to it"),
    ],
)
def test_an_alert_that_was_tampered_with_is_named(file: str, change: dict[str, object], said: str) -> None:
    settings = load(Path(os.devnull), {}, {"reviews.horizon_days": 14.0, "learner.publish_every": 20})
    replay_files(settings, [Lines(file)], Path("out"))
    path = Path("out", "alerts.jsonl")
    alerts = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    place = next(i for i, alert in enumerate(alerts) if alert["state"] == "raised")
    alerts[place] |= change
    path.write_bytes(b"".join(orjson.dumps(alert) + b"\n" for alert in alerts))
    result = run(*OPTIONS, "verify", file, "--outputs", "out")
    assert result.exit_code == 1
    assert said in result.stdout
    assert alerts[place]["customer_id"] in result.stdout
    assert result.stderr.endswith(f" of {len(alerts)} alerts differ\n")


@pytest.mark.parametrize("content", [b"oops\n", b"{}\n"])
def test_a_folder_that_holds_no_alerts_is_told(file: str, content: bytes) -> None:
    Path("out").mkdir()
    Path("out", "alerts.jsonl").write_bytes(content)
    assert failure("verify", file, "--outputs", "out").startswith("out/alerts.jsonl:1: no ChurnAlert: ")


@pytest.mark.broker
def test_alerts_and_models_on_topics_are_recomputed_from_the_inputs(on_topics: Settings, file: str) -> None:
    from kafka import KafkaProducer

    from agents.connection import kafka_python_arguments

    assert run("replay", *OPTIONS, file).exit_code == 0
    producer = KafkaProducer(**kafka_python_arguments(on_topics), enable_idempotence=False)
    for topic, name in (("churn-alerts", "alerts"), ("models", "models")):
        for line in Path("replay-out", f"{name}.jsonl").read_bytes().splitlines():
            producer.send(on_topics.topic(topic), value=line)
    producer.flush()
    producer.close()
    done = run(*OPTIONS, "verify", "--from-topic", "inputs")
    assert done.exit_code == 0, done.output
    assert re.fullmatch(r"[1-9]\d* alerts recomputed, all the same\n", done.stdout)


# Suggest


def test_what_is_suggested_keeps_to_the_budget_and_is_accepted_as_settings(file: str) -> None:
    result = run("--set", "learner.publish_every=20", "suggest", file, "--alerts-per-day", "0.3")
    assert result.exit_code == 0, result.output
    table, _, toml = result.stdout.partition("\n[reviews]")
    Path("own.toml").write_text("[reviews]" + toml, encoding="utf-8")
    settings = load(Path("own.toml"), {}, {})
    horizon = int(settings.reviews.horizon_days)
    assert f"{horizon} days  <- horizon" in table
    days = [int(match) for match in re.findall(r"%   (\d+) days", table)]
    assert all(a <= b for a, b in pairwise(days))
    (chosen,) = re.findall(r"([\d.]+) +([\d.]+) +\S+  <- raise_at", table)
    assert float(chosen[0]) == pytest.approx(settings.alerts.raise_at, abs=1e-3)
    assert float(chosen[1]) <= 0.3


def test_too_few_orders_for_a_horizon_are_told(shop: list[bytes]) -> None:
    Path("few.jsonl").write_bytes(b"".join(shop[:30]))
    assert "gaps between orders of customers with 2 or more" in failure("suggest", "few.jsonl")
