"""Variants of the settings, to be replayed beside those in force.

`NAME: key=value, key=value` names one. A value may hold commas itself, as lists do: a part without an equals
sign goes on with the value before it. Only what changes a decision may differ; keys and values are checked
by the types of the settings, like everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from agents.errors import OperatorError
from agents.settings import Settings
from streams.config import StreamConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_DECIDING = tuple(field.name for field in msgspec.structs.fields(StreamConfig))
BASE = "base"
"""What the settings in force are called beside their variants."""


def parse_variant(text: str) -> tuple[str, dict[str, str]]:
    """Read a variant as it is written.

    Raises
    ------
    OperatorError
        In one line, what is wrong with it.

    Examples
    --------
    >>> parse_variant("strict: alerts.raise_at=0.9, segments.recency_days=10,20,30,40")
    ('strict', {'alerts.raise_at': '0.9', 'segments.recency_days': '10,20,30,40'})
    >>> parse_variant("strict")
    Traceback (most recent call last):
    agents.errors.OperatorError: --compare: 'strict' is not NAME: KEY=VALUE, KEY=VALUE
    """
    name, colon, rest = text.partition(":")
    name = name.strip()
    values: dict[str, str] = {}
    key = ""
    for part in rest.split(",") if colon else ():
        before, equals, after = part.partition("=")
        if equals:
            key = before.strip()
            values[key] = after.strip()
        elif key:
            values[key] += "," + part.strip()
        else:
            values = {}
            break
    if not values or "" in values:
        raise OperatorError(f"--compare: {text!r} is not NAME: KEY=VALUE, KEY=VALUE")
    if not _NAME.fullmatch(name) or name == BASE:
        raise OperatorError(
            f"--compare: {name!r} cannot name a variant: letters, digits, . _ and - can, but not {BASE!r}"
        )
    return name, values


def check_deciding(values: Mapping[str, object], source: str) -> None:
    """Refuse keys that change no decision: a variant of them would be the same run twice.

    Raises
    ------
    OperatorError
        In one line, for the first such key.

    Examples
    --------
    >>> check_deciding({"alerts.raise_at": "0.9"}, "--compare")
    """
    for key in values:
        section = key.partition(".")[0]
        if section in Settings.__struct_fields__ and section not in _DECIDING:
            raise OperatorError(f"{source}: {key} changes no decision; {', '.join(_DECIDING)} do")
