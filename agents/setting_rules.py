"""What a setting's type says, in words and applied to what somebody wrote.

The types of the settings carry their bounds and their meaning (`msgspec.Meta`), so they are written
once and serve three readers: the program, which refuses what is out of bounds; the person who wrote
the wrong thing, who is told the rule and not the name of a Python type; and the documentation.
Text, from the environment or the command line, is read by the same types as TOML is: a number is what
the type says is a number, and the parts of a list are separated by commas.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import inspect

SECRET = {"secret": True}
"""Put into a type's `Meta(extra=...)`: the value is never shown."""


def meaning(annotation: Any) -> str:
    """Give the description that a type carries, or an empty string.

    Examples
    --------
    >>> from typing import Annotated
    >>> meaning(Annotated[int, msgspec.Meta(ge=1, description="Partitions of a new topic.")])
    'Partitions of a new topic.'
    """
    info = inspect.type_info(annotation)
    if isinstance(info, inspect.Metadata):
        return str((info.extra_json_schema or {}).get("description", ""))
    return ""


def is_secret(annotation: Any) -> bool:
    """Tell whether a setting's value must not be shown.

    Examples
    --------
    >>> from typing import Annotated
    >>> is_secret(Annotated[str, msgspec.Meta(extra=SECRET)]), is_secret(str)
    (True, False)
    """
    info = inspect.type_info(annotation)
    return isinstance(info, inspect.Metadata) and bool((info.extra or {}).get("secret"))


def rule(annotation: Any) -> str:
    """Say in words what a type allows.

    A type may bring its own words, as `Meta(extra={"rule": ...})`: a pattern is not a sentence.

    Examples
    --------
    >>> from typing import Annotated
    >>> rule(Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)])
    'a number above 0 and below 1'
    >>> rule(tuple[int, int])
    '2 values, each a whole number'
    """
    return _words(inspect.type_info(annotation))


def _words(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata():
            own = (info.extra or {}).get("rule")
            return str(own) if own else _words(info.type)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _bounds(info)
        case inspect.FloatType():
            return "a number" + _bounds(info)
        case inspect.StrType():
            return "text"
        case inspect.LiteralType():
            return " or ".join(str(value) for value in info.values)
        case inspect.TupleType():
            return f"{len(info.item_types)} values, each {_words(info.item_types[0])}"
        case inspect.VarTupleType():
            least = "one or more values" if info.min_length else "values"
            return f"{least}, each {_words(info.item_type)}"
    raise TypeError(f"no words for a setting of type {type(info).__name__}")


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    bounds = (("at least", info.ge), ("above", info.gt), ("at most", info.le), ("below", info.lt))
    said = [f"{word} {bound:.15g}" for word, bound in bounds if bound is not None]
    return " " + " and ".join(said) if said else ""


def read(value: object, annotation: Any, *, text: bool) -> object:
    """Turn what was written into the setting's value.

    Parameters
    ----------
    value
        A TOML value, or text.
    annotation
        The setting's type.
    text
        Whether `value` is text to be read, rather than a value that already has a type.

    Returns
    -------
    object
        The value, of the setting's type and within its bounds.

    Raises
    ------
    ValueError
        When it breaks the rule; the message is the rule.

    Examples
    --------
    >>> read("2, 3", tuple[int, int], text=True)
    (2, 3)
    >>> read("two", int, text=True)
    Traceback (most recent call last):
    ValueError: must be a whole number, not 'two'
    """
    raw = value
    if text:
        raw = str(value).strip()
        if _is_list(annotation):
            raw = [part.strip() for part in raw.split(",")] if raw else []
    try:
        read_value: object = msgspec.convert(raw, annotation, strict=not text)
    except msgspec.ValidationError:
        read_value = None
    if read_value is None or not _is_finite(read_value):
        shown = "this one" if is_secret(annotation) else repr(value)
        raise ValueError(f"must be {rule(annotation)}, not {shown}")
    return read_value


def _is_list(annotation: Any) -> bool:
    info = inspect.type_info(annotation)
    if isinstance(info, inspect.Metadata):
        info = info.type
    return isinstance(info, inspect.TupleType | inspect.VarTupleType)


def _is_finite(value: object) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(part) for part in parts if isinstance(part, float))


def toml(value: object) -> str:
    """Write a setting's value the way TOML does.

    Examples
    --------
    >>> toml((2, 3)), toml("a"), toml(True), toml(0.5)
    ('[2, 3]', '"a"', 'true', '0.5')
    """
    if isinstance(value, tuple):
        return "[" + ", ".join(toml(part) for part in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return msgspec.json.encode(value).decode()  # JSON's strings, integers and booleans are TOML's too
