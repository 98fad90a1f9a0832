"""Every setting of Holdfast: its name, its type, its default and what it means.

What events mean is configured in `streams.config`; the sections here say how events travel. Both are
one tree of frozen types, and one file, one naming scheme and one table cover it. Values come from the
defaults, then from a TOML file, then from the environment, then from the command line, and the later
one wins. Nothing is guessed: a name that does not exist is refused, with the nearest one that does,
because a misspelt setting that is ignored looks exactly like one that is obeyed.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agents.errors import OperatorError
from agents.sections import (
    ConsoleSettings,
    DeadLetterSettings,
    KafkaSettings,
    SecuritySettings,
    TopicSettings,
    WebSettings,
    WorkerSettings,
)
from agents.setting_rules import is_secret, meaning, read, rule, toml
from schemas.sources.config import SourceConfig
from schemas.topics import CLICKSTREAM, ORDERS, TOPIC_BY_NAME, dead_letters_of
from streams.config import (
    AlertConfig,
    IdentityConfig,
    LearnerConfig,
    ReviewConfig,
    SegmentConfig,
    StreamConfig,
    TimeConfig,
    ValueConfig,
)

DEFAULT_FILE = Path("holdfast.toml")
ENVIRONMENT_PREFIX = "HOLDFAST_"
_NO_SETTING = "HOLDFAST_TEST_"  # variables for the tests of this project, such as HOLDFAST_TEST_BROKER


class SettingsError(OperatorError):
    """A setting that is unknown, out of range, or at odds with another."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; `load` makes one that is known to be sound.

    Examples
    --------
    >>> Settings().topic("churn-alerts")
    'churn-alerts'
    >>> Settings(topics=TopicSettings(prefix="eu.", orders="bestellungen")).topic("orders.dlq")
    'eu.bestellungen.dlq'
    """

    kafka: KafkaSettings = KafkaSettings()
    security: SecuritySettings = SecuritySettings()
    topics: TopicSettings = TopicSettings()
    sources: SourceConfig = SourceConfig()
    identity: IdentityConfig = IdentityConfig()
    worker: WorkerSettings = WorkerSettings()
    web: WebSettings = WebSettings()
    console: ConsoleSettings = ConsoleSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    time: TimeConfig = TimeConfig()
    reviews: ReviewConfig = ReviewConfig()
    segments: SegmentConfig = SegmentConfig()
    alerts: AlertConfig = AlertConfig()
    value: ValueConfig = ValueConfig()
    learner: LearnerConfig = LearnerConfig()

    @property
    def streams(self) -> StreamConfig:
        """The part that decides what events mean."""
        return StreamConfig(
            time=self.time,
            reviews=self.reviews,
            segments=self.segments,
            alerts=self.alerts,
            value=self.value,
            learner=self.learner,
            sources=self.sources,
            identity=self.identity,
        )

    def topic(self, name: str) -> str:
        """Give the real name of a topic.

        Parameters
        ----------
        name
            A name of `schemas.topics`.

        Returns
        -------
        str
            Its name on the cluster: prefixed, the inputs renamed, dead letters after their input.

        Raises
        ------
        KeyError
            When `schemas.topics` has no such topic.
        """
        if name not in TOPIC_BY_NAME:
            raise KeyError(name)
        for origin, own in ((CLICKSTREAM, self.topics.clickstream), (ORDERS, self.topics.orders)):
            if name == origin:
                return self.topics.prefix + own
            if name == dead_letters_of(origin):
                return dead_letters_of(self.topics.prefix + own)
        return self.topics.prefix + name

    def problems(self) -> list[str]:
        """Say what contradicts itself, one line each; an empty list when nothing does.

        Examples
        --------
        >>> Settings().problems()
        []
        >>> Settings(topics=TopicSettings(orders="models")).problems()
        ['topics: orders and models are both named models']
        """
        found = self.streams.problems() + self.security.problems() + self.console.problems()
        kafka = self.kafka
        if kafka.request_timeout_seconds < kafka.session_timeout_seconds:
            found.append("kafka: request_timeout_seconds must not be less than session_timeout_seconds")
        taken: dict[str, str] = {}
        for name in TOPIC_BY_NAME:
            other = taken.setdefault(self.topic(name), name)
            if other != name:
                found.append(f"topics: {other} and {name} are both named {self.topic(name)}")
        if self.worker.stalled_seconds < 2.0 * self.worker.epoch_seconds:
            found.append("worker: stalled_seconds must be at least twice epoch_seconds")
        if len(set(self.worker.agents)) != len(self.worker.agents):
            found.append("worker: agents names one of them twice")
        return found


class _Setting(NamedTuple):
    section: str
    name: str
    annotation: Any

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"


def _all_settings() -> Iterator[_Setting]:
    for section in msgspec.structs.fields(Settings):
        for field in msgspec.structs.fields(section.type):
            yield _Setting(section.name, field.name, field.type)


_SETTINGS = {setting.key: setting for setting in _all_settings()}
_SECTIONS = msgspec.structs.fields(Settings)
_VARIABLES = {
    ENVIRONMENT_PREFIX + key.upper().replace(".", "__"): key for key in _SETTINGS
}  # kafka.client_id is HOLDFAST_KAFKA__CLIENT_ID


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Put the settings together and check them.

    Parameters
    ----------
    path
        A TOML file; None takes `holdfast.toml` in the working directory if it is there.
    environ
        The environment; `HOLDFAST_ALERTS__RAISE_AT` is `alerts.raise_at`.
    overrides
        By dotted key; text is read the way the environment is, other values must have the right type.

    Returns
    -------
    Settings
        What overrides, environment, file and defaults say, in this order.

    Raises
    ------
    SettingsError
        In one line, what is wrong, where, and what would be right.

    Examples
    --------
    >>> load(None, {"HOLDFAST_ALERTS__RAISE_AT": "0.75"}, {"web.port": 7000}).alerts.raise_at
    0.75
    >>> load(None, {}, {"alerts.raise": 0.7})
    Traceback (most recent call last):
    agents.settings.SettingsError: --set: there is no setting alerts.raise; did you mean alerts.raise_at?
    """
    values: dict[str, dict[str, object]] = {section.name: {} for section in _SECTIONS}
    for key, value, source, text in _given(path, environ, overrides):
        setting = _SETTINGS[key]
        try:
            values[setting.section][setting.name] = read(value, setting.annotation, text=text)
        except ValueError as error:
            raise SettingsError(f"{source}: {key} {error}") from None
    sections: dict[str, Any] = {section.name: section.type(**values[section.name]) for section in _SECTIONS}
    settings = Settings(**sections)
    problems = settings.problems()
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


class _Given(NamedTuple):
    key: str
    value: object
    source: str
    text: bool


def _given(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Iterator[_Given]:
    if path is not None or DEFAULT_FILE.exists():
        yield from _from_file(path or DEFAULT_FILE)
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and not variable.startswith(_NO_SETTING):
            if variable not in _VARIABLES:
                raise SettingsError(f"there is no setting {variable}{_nearest(variable, _VARIABLES)}")
            yield _Given(_VARIABLES[variable], text, variable, text=True)
    for key, value in overrides.items():
        _check_key(key, "--set")
        yield _Given(key, value, "--set", text=isinstance(value, str))


def _from_file(path: Path) -> Iterator[_Given]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    names = [section.name for section in _SECTIONS]
    for section, table in tree.items():
        if section not in names:
            raise SettingsError(f"{path}: there is no section {section}{_nearest(section, names)}")
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {section} is a section and must be written as [{section}]")
        for name, value in table.items():
            key = f"{section}.{name}"
            _check_key(key, str(path))
            yield _Given(key, value, str(path), text=False)


def _check_key(key: str, source: str) -> None:
    if key not in _SETTINGS:
        raise SettingsError(f"{source}: there is no setting {key}{_nearest(key, _SETTINGS)}")


def _nearest(name: str, names: Mapping[str, object] | list[str]) -> str:
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def settings_table() -> str:
    """Describe every setting with its default, as a Markdown table.

    Examples
    --------
    >>> print(settings_table().splitlines()[2])
    | `kafka.bootstrap` | `"127.0.0.1:9092"` | Brokers to begin with, as host:port, separated by commas. |
    """
    defaults = Settings()
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for key, setting in _SETTINGS.items():
        default = toml(getattr(getattr(defaults, setting.section), setting.name))
        rows.append(f"| `{key}` | `{default}` | {meaning(setting.annotation).replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def settings_toml(settings: Settings, *, secrets: bool = False) -> str:
    """Write settings as the file that `load` would read them from, with what each one means.

    Parameters
    ----------
    settings
        What to write.
    secrets
        Write out what must not be shown as well; otherwise a comment says that it is set.

    Examples
    --------
    >>> print(settings_toml(Settings()).partition("[web]")[2].partition("# The console")[0].strip())
    # Address to listen on; there is no authentication.
    host = "127.0.0.1"
    # Port to listen on; 0 takes a free one. (a whole number at least 0 and at most 65535)
    port = 6066
    """
    parts = []
    for section in _SECTIONS:
        lines = [f"# {(section.type.__doc__ or '').splitlines()[0]}", f"[{section.name}]"]
        for field in msgspec.structs.fields(section.type):
            value = getattr(getattr(settings, section.name), field.name)
            allowed = "" if isinstance(value, bool | str) else f" ({rule(field.type)})"
            lines.append(f"# {meaning(field.type)}{allowed}")
            if value and is_secret(field.type) and not secrets:
                lines.append(f"# {field.name} is set and not shown")
            else:
                lines.append(f"{field.name} = {toml(value)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
