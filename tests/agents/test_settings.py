"""Settings: which value wins, what is refused, and how it is told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.setting_rules import meaning, rule
from agents.settings import (
    Settings,
    SettingsError,
    TopicSettings,
    load,
    settings_table,
    settings_toml,
)
from schemas.topics import TOPIC_BY_NAME

KEYS = [
    f"{section.name}.{field.name}"
    for section in msgspec.structs.fields(Settings)
    for field in msgspec.structs.fields(section.type)
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Path:
    path = Path("some.toml")
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None = None, environ: dict[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {}, {key.replace("__", "."): value for key, value in overrides.items()})
    return caught.value.message


def test_without_anything_the_defaults_hold() -> None:
    assert load(None, {"PATH": "/bin"}, {}) == Settings()


def test_the_command_line_wins_over_the_environment_and_the_environment_over_the_file() -> None:
    path = written("[alerts]\nraise_at = 0.75\nescalate_at = 0.85\nmin_orders = 3\n")
    environ = {"HOLDFAST_ALERTS__RAISE_AT": "0.76", "HOLDFAST_ALERTS__ESCALATE_AT": "0.86"}
    alerts = load(path, environ, {"alerts.raise_at": "0.77"}).alerts
    assert (alerts.min_orders, alerts.escalate_at, alerts.raise_at) == (3, 0.86, 0.77)


def test_the_file_in_the_working_directory_is_found() -> None:
    Path("holdfast.toml").write_text("[web]\nport = 7000\n", encoding="utf-8")
    assert load(None, {}, {}).web.port == 7000


def test_a_named_file_replaces_the_one_in_the_working_directory() -> None:
    Path("holdfast.toml").write_text("[web]\nport = 7000\n", encoding="utf-8")
    assert load(written('[web]\nhost = "::1"\n'), {}, {}).web.port == 6066


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("kafka.idempotent_producer", "false", False),
        ("kafka.idempotent_producer", "True", True),
        ("kafka.bootstrap", "a.example:9092,b.example:9092", "a.example:9092,b.example:9092"),
        ("web.port", " 7000 ", 7000),
        ("time.max_ahead_seconds", "60", 60.0),
        ("worker.agents", "learner", ("learner",)),
        ("worker.agents", "customers, learner", ("customers", "learner")),
        ("segments.recency_days", "7, 14, 28, 56.5", (7.0, 14.0, 28.0, 56.5)),
        ("topics.prefix", "", ""),
    ],
)
def test_text_is_read_by_the_type_of_the_setting(key: str, text: str, value: object) -> None:
    section, name = key.split(".")
    variable = f"HOLDFAST_{section.upper()}__{name.upper()}"
    for given_settings in (load(None, {variable: text}, {}), load(None, {}, {key: text})):
        assert getattr(getattr(given_settings, section), name) == value


def test_values_from_code_keep_their_types() -> None:
    overrides = {"worker.agents": ("learner",), "kafka.idempotent_producer": False, "web.port": 0}
    found = load(None, {}, overrides)
    assert (found.worker.agents, found.kafka.idempotent_producer, found.web.port) == (("learner",), False, 0)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[alert]\nraise_at = 0.7", "some.toml: there is no section alert; did you mean alerts?"),
        (
            "[alerts]\nraise = 0.7",
            "some.toml: there is no setting alerts.raise; did you mean alerts.raise_at?",
        ),
        ("[zzz]\nx = 1", "some.toml: there is no section zzz"),
        ("kafka = 3", "some.toml: kafka is a section and must be written as [kafka]"),
        (
            "[alerts]\nresolve_below = 1.5",
            "some.toml: alerts.resolve_below must be a number above 0 and below 1, not 1.5",
        ),
        (
            "[alerts]\nresolve_below = '0.7'",
            "some.toml: alerts.resolve_below must be a number above 0 and below 1, not '0.7'",
        ),
        (
            "[alerts]\nmin_orders = true",
            "some.toml: alerts.min_orders must be a whole number at least 1, not True",
        ),
        ("[alerts]\nmin_value = inf", "some.toml: alerts.min_value must be a number at least 0, not inf"),
        ("[alerts]\nmin_value = nan", "some.toml: alerts.min_value must be a number at least 0, not nan"),
        (
            "[kafka]\nbootstrap = 'somewhere'",
            "some.toml: kafka.bootstrap must be host:port, or several of them separated by commas, "
            "not 'somewhere'",
        ),
        (
            "[segments]\nfrequency_orders = [1, 2]",
            "some.toml: segments.frequency_orders must be 4 values, each a whole number at least 1, "
            "not [1, 2]",
        ),
        (
            "[worker]\nagents = []",
            "some.toml: worker.agents must be one or more values, each customers or learner, not []",
        ),
    ],
)
def test_a_file_that_is_wrong_is_told_by_file_key_and_rule(toml: str, message: str) -> None:
    assert refusal(written(toml)) == message


def test_a_file_that_is_not_toml_is_told_in_one_line() -> None:
    message = refusal(written("[alerts\n"))
    assert message.startswith("some.toml: not TOML: ")
    assert "\n" not in message


def test_a_named_file_that_is_not_there_is_told() -> None:
    assert refusal(Path("none.toml")) == "none.toml: No such file or directory"


def test_a_variable_that_is_wrong_is_told_by_its_name() -> None:
    assert refusal(environ={"HOLDFAST_WEB__PORT": "http"}) == (
        "HOLDFAST_WEB__PORT: web.port must be a whole number at least 0 and at most 65535, not 'http'"
    )
    assert refusal(environ={"HOLDFAST_WEBB__PORT": "1"}) == (
        "there is no setting HOLDFAST_WEBB__PORT; did you mean HOLDFAST_WEB__PORT?"
    )


def test_an_override_that_is_wrong_is_told() -> None:
    assert refusal(kafka__boot="x:1") == (
        "--set: there is no setting kafka.boot; did you mean kafka.bootstrap?"
    )


def test_settings_at_odds_are_told_one_line_each() -> None:
    lines = refusal(
        alerts__resolve_below=0.9, segments__active_days=400, topics__orders="models"
    ).splitlines()
    assert [line.split(":")[0] for line in lines] == ["alerts", "segments", "topics"]


def test_a_request_must_outlast_a_session() -> None:
    assert "request_timeout_seconds" in refusal(kafka__session_timeout_seconds=50.0)


@given(key=st.sampled_from(KEYS), text=st.text(max_size=12) | st.floats().map(str) | st.integers().map(str))
@settings(max_examples=300, deadline=None)
def test_any_text_for_any_setting_is_taken_or_refused_in_plain_words(key: str, text: str) -> None:
    try:
        said = load(None, {}, {key: text}).problems()
    except SettingsError as error:
        said = ["Expected" in error.message, not error.message]  # msgspec's words are for programmers
    assert not any(said)


def test_every_setting_says_what_it_means_and_what_it_allows() -> None:
    for section in msgspec.structs.fields(Settings):
        assert section.type.__doc__
        for field in msgspec.structs.fields(section.type):
            assert meaning(field.type).endswith("."), field.name
            assert rule(field.type)


def test_the_table_has_a_row_for_every_setting() -> None:
    rows = settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == KEYS


def test_settings_written_as_a_file_are_read_back_the_same() -> None:
    changed = load(
        None,
        {},
        {
            "topics.prefix": "eu.",
            "worker.agents": "learner",
            "segments.frequency_orders": "2,4,8,16",
            "alerts.min_value": 1e17,
            "kafka.idempotent_producer": False,
        },
    )
    assert load(written(settings_toml(changed)), {}, {}) == changed
    assert set(tomllib.loads(settings_toml(Settings()))) == set(Settings.__struct_fields__)


def test_the_stream_part_is_what_the_sections_say() -> None:
    found = load(None, {}, {"reviews.horizon_days": 60.0, "learner.l2": 0.1})
    assert found.streams.reviews.horizon_days == 60.0
    assert found.streams.learner is found.learner


def test_topics_are_prefixed_and_the_inputs_have_their_own_names() -> None:
    own = Settings(topics=TopicSettings(prefix="eu.", clickstream="clicks"))
    assert [own.topic(name) for name in ("clickstream", "orders", "models")] == [
        "eu.clicks",
        "eu.orders",
        "eu.models",
    ]
    assert own.topic("clickstream.dlq") == "eu.clicks.dlq"
    assert own.topic("examples.dlq") == "eu.examples.dlq"
    assert len({own.topic(name) for name in TOPIC_BY_NAME}) == len(TOPIC_BY_NAME)


def test_a_topic_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(KeyError):
        Settings().topic("alerts")


def test_a_watchdog_less_patient_than_an_epoch_is_refused() -> None:
    with pytest.raises(SettingsError, match="stalled_seconds must be at least twice epoch_seconds"):
        load(None, {}, {"worker.epoch_seconds": 40.0})
