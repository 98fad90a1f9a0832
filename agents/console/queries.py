"""What can be asked: the parameters of the API's operations, as types.

Text of a query is read by these types the way settings are, and unknown names are refused: a misspelt filter
that is ignored looks exactly like one that is obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, inspect

from schemas.decisions import AlertState, RiskBand

Text = Annotated[str, Meta(max_length=128, description="Part of the customer's id, in any case.")]
Limit = Annotated[int, Meta(ge=1, le=500, description="At most so many.")]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class AlertQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts."""

    since: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="Event time from which on. An alert may come after one of a later time: ask "
                "with an overlap and leave out ids that you have.",
            ),
        ]
        | None
    ) = None
    open: Annotated[
        bool,
        Meta(description="true: the newest step of each open episode; false: every step that is kept."),
    ] = False
    state: Annotated[AlertState, Meta(description="Steps of this kind only.")] | None = None
    band: Annotated[RiskBand, Meta(description="This band of risk only.")] | None = None
    rfm: Annotated[
        str, Meta(max_length=40, description="Customers who are in this RFM segment now; empty: in any.")
    ] = ""
    q: Text = ""
    min_value: Annotated[float, Meta(ge=0.0, le=1e12, description="No less value at risk.")] = 0.0
    sort: Annotated[Literal["newest", "money"], Meta(description="By event time, or by value at risk.")] = (
        "newest"
    )
    limit: Limit = 100


class CustomerQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which customers."""

    q: Text = ""
    limit: Limit = 20


_NUMBER = r"-?\d+"
_FORMS: dict[type[inspect.Type], tuple[re.Pattern[str], str]] = {
    inspect.BoolType: (re.compile(r"true|false"), "true or false"),
    inspect.IntType: (re.compile(_NUMBER, re.ASCII), "a whole number"),
    inspect.FloatType: (re.compile(_NUMBER + r"(\.\d+)?([eE][+-]?\d+)?", re.ASCII), "a number"),
    inspect.DateTimeType: (
        re.compile(r"\d{4}-\d\d-\d\d[Tt ].+", re.ASCII),
        "a time as RFC 3339 has it, with its zone",
    ),
}
"""How values are written: lax reading would take 1 for true and 0.5 for a time in 1970."""

Query = TypeVar("Query", bound=msgspec.Struct)


class BadQuery(Exception):  # noqa: N818 - a state of the request, named after it
    """A query that the operation does not take; the message says why."""


def read_query(pairs: Iterable[tuple[str, str]], kind: type[Query]) -> Query:
    """Read the parameters of a request.

    Parameters
    ----------
    pairs
        Names and values, as they stand in the address.
    kind
        What the operation takes.

    Raises
    ------
    BadQuery
        When a name is unknown or comes twice, or a value is not what it should be.

    Examples
    --------
    >>> read_query([("limit", "5"), ("open", "true")], AlertQuery).limit
    5
    >>> read_query([("limits", "5")], AlertQuery)
    Traceback (most recent call last):
    agents.console.queries.BadQuery: there is no parameter 'limits'
    """
    fields = {field.name: inspect.type_info(field.type) for field in msgspec.structs.fields(kind)}
    read: dict[str, object] = {}
    for name, text in pairs:
        if name not in fields:
            raise BadQuery(f"there is no parameter {name[:40]!r}")
        if name in read:
            raise BadQuery(f"{name} is given twice")
        for type_, (form, rule) in _FORMS.items():
            if _is(fields[name], type_) and not form.fullmatch(text):
                raise BadQuery(f"{name} is {rule}, not {text[:40]!r}")
        if not _is(fields[name], inspect.StrType) and text.casefold() == "null":
            raise BadQuery(f"{name} is left out where it says nothing")
        read[name] = text
    try:
        return msgspec.convert(read, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadQuery(str(error)) from None


def _is(info: inspect.Type, kind: type[inspect.Type]) -> bool:
    """Tell whether a parameter's type, or one of those that it may have, is of a kind."""
    parts = info.types if isinstance(info, inspect.UnionType) else (info,)
    return any(isinstance(part.type if isinstance(part, inspect.Metadata) else part, kind) for part in parts)
