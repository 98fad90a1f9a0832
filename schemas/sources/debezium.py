"""Debezium change events of a table of orders.

An envelope has the row before and after a change. An insert, or a row of the snapshot, is an order; an
update is an order's new content, a refund or a cancellation, by the status column; a deleted row is an
order that was called off. Which columns say what is set, and those alone are read. Where rows are written
before they are orders (a basket, a payment that is pending), `debezium_placed` lists the statuses from
which a row is one, and the update that reaches one is the order.

An order has the time of its time column. What is done to it later has the time of the change in the
database. The message id is made of the place in the database's log, as Debezium delivers at least once;
rows of a snapshot have none, so there the row's own id counts.

References
----------
Debezium's connectors for PostgreSQL, MySQL, SQL Server and Oracle: change event values, `source` fields.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.codec import EARLIEST_MS, WireError
from schemas.events import Anonymous
from schemas.messages import Envelope
from schemas.sources.config import SourceConfig
from schemas.sources.envelope import (
    Headers,
    Number,
    Translate,
    envelope,
    fingerprint,
    moment,
    number,
    text_id,
)

TOMBSTONE = Anonymous("", "tombstone", EARLIEST_MS)
"""What follows the event of a deleted row, for compaction: it says nothing, at no time."""

_SNAPSHOT = "r"


class _Source(msgspec.Struct, gc=False):
    ts_ms: Number = None
    db: str | None = None
    schema: str | None = None
    table: str | None = None
    # Places in the log: PostgreSQL, MySQL, SQL Server, Oracle.
    lsn: Number = None
    file: str | None = None
    pos: Number = None
    row: Number = None
    commit_lsn: Number = None
    change_lsn: Number = None
    event_serial_no: Number = None
    scn: Number = None
    rs_id: str | None = None
    ssn: Number = None


class _Wrapped(msgspec.Struct, gc=False):
    payload: msgspec.Raw = msgspec.Raw(b"")


class _Marks(msgspec.Struct, gc=False):
    op: object = None
    payload: object = None


_marks = msgspec.json.Decoder(_Marks).decode

_READ: dict[str, Any] = {
    "order_id": int | str | None,
    "customer_id": int | str | None,
    "amount": Number,
    "time": Number,
    "discount": Number,
    "refund": Number,
    "status": int | str | None,
}
"""What is read of a row; the setting `debezium_<name>` says from which column."""


def _row_type(config: SourceConfig) -> type[Any]:
    columns = {name: getattr(config, f"debezium_{name}") for name in _READ}
    fields = [
        (name, _READ[name], msgspec.field(name=column, default=None))
        for name, column in columns.items()
        if column
    ]
    return msgspec.defstruct("Row", fields, gc=False)


def is_order(value: bytes) -> bool:
    """Tell a change event, whether or not the row in it can be read: every row is of an order.

    Raises
    ------
    msgspec.DecodeError
        When it is no JSON object.

    Examples
    --------
    >>> is_order(b'{"op": "c"}'), is_order(b'{"payload": {"op": "c"}}'), is_order(b'{"type": "page"}')
    (True, True, False)
    """
    marks = _marks(value)
    return marks.op is not None or (isinstance(marks.payload, dict) and "op" in marks.payload)


def translator(config: SourceConfig) -> Translate:
    """Make the function that reads change events of the table that the settings describe.

    Examples
    --------
    >>> translate = translator(SourceConfig())
    >>> row = '{"id": 1, "customer_id": 17, "total": "42.50", "created_at": 1767225600000000}'
    >>> made = translate(f'{{"op": "c", "after": {row}, "source": {{"lsn": 5}}}}'.encode(), ())
    >>> made.event, made.user_id, bytes(made.properties)
    ('Order Completed', '17', b'{"order_id":"1","revenue":42.5}')
    """
    row_type = _row_type(config)
    change_type = msgspec.defstruct(
        "Change",
        [
            ("op", str | None, None),
            ("before", row_type | None, None),
            ("after", row_type | None, None),
            ("source", _Source, msgspec.field(default_factory=_Source)),
            ("ts_ms", Number, None),
        ],
        gc=False,
    )
    decode = msgspec.json.Decoder(change_type).decode
    unwrap = msgspec.json.Decoder(_Wrapped).decode
    statuses = _Statuses(config)

    def translate(value: bytes, _: Headers) -> Envelope:
        # With schemas.enable the event lies in `payload`, after a schema that nobody needs here.
        wrapped = unwrap(value).payload
        return _translated(decode(wrapped if bytes(wrapped) else value), statuses)

    return translate


class _Statuses:
    """What a status means."""

    def __init__(self, config: SourceConfig) -> None:
        self._placed = frozenset(word.lower() for word in config.debezium_placed)
        self._cancelled = frozenset(word.lower() for word in config.debezium_cancelled)
        self._refunded = frozenset(word.lower() for word in config.debezium_refunded)

    def meaning(self, row: Any) -> str:
        """Say what a row is by its status: `cancelled`, `refunded`, `placed` or `waiting`."""
        status = str(getattr(row, "status", None) or "").lower()
        if status in self._cancelled:
            return "cancelled"
        if status in self._refunded:
            return "refunded"
        return "placed" if not self._placed or status in self._placed else "waiting"


def _translated(change: Any, statuses: _Statuses) -> Envelope:
    op = change.op
    if op is None:
        raise WireError("missing", "op: not a change event")
    if op not in ("c", "r", "u", "d"):
        raise WireError("wrong_type", "op is not one of c, r, u and d")
    row, side = (change.before, "before") if op == "d" else (change.after, "after")
    if row is None:
        hint = "; REPLICA IDENTITY FULL sends it" if op == "d" else ""
        raise WireError("missing", f"{side}, on op {op}{hint}")
    order_id, customer_id = text_id(row.order_id), text_id(row.customer_id)
    if order_id is None:
        raise WireError("missing", f"the order's id, in {side}")
    if not customer_id:
        hint = "; REPLICA IDENTITY FULL sends the whole row" if op == "d" else ""
        raise WireError("missing", f"the customer's id, in {side}{hint}")
    event, properties = _meaning(change, row, statuses)
    written = change.source.ts_ms if change.source.ts_ms is not None else change.ts_ms
    ordered = getattr(row, "time", None) if op in ("c", "r") else None
    return envelope(
        type="track" if event else "identify",
        event=event,
        message_id=_message_id(change, order_id),
        time=moment(written if ordered is None else ordered, "the order's time"),
        user_id=customer_id,
        properties={"order_id": order_id, **properties} if event else None,
    )


def _meaning(change: Any, row: Any, statuses: _Statuses) -> tuple[str | None, dict[str, Any]]:
    if change.op == "d":
        return "Order Cancelled", {}
    is_now = statuses.meaning(row)
    if is_now == "cancelled":
        return "Order Cancelled", {}
    if is_now == "waiting":
        return None, {}
    if is_now == "refunded" and change.op == "u":
        refund = number(getattr(row, "refund", None), "the refund")
        return "Order Refunded", {} if refund is None else {"total": refund}
    return _ordered(change, statuses), _amounts(row)


def _ordered(change: Any, statuses: _Statuses) -> str:
    """Tell an order from a new content of one."""
    if change.op in ("c", _SNAPSHOT):
        return "Order Completed"
    if change.before is not None:
        return "Order Completed" if statuses.meaning(change.before) == "waiting" else "Order Updated"
    # The row before is not sent. A known order that comes again is taken as an update of itself.
    return "Order Completed" if statuses._placed else "Order Updated"


def _amounts(row: Any) -> dict[str, Any]:
    amount = number(row.amount, "the amount")
    discount = number(getattr(row, "discount", None), "the discount")
    amounts = {"revenue": amount, "discount": discount}
    return {name: value for name, value in amounts.items() if value is not None}


def _message_id(change: Any, order_id: str) -> str:
    source = change.source
    parts = (source.db, source.schema, source.table, order_id, change.op)
    if change.op == _SNAPSHOT:
        return fingerprint(*parts)
    place = (source.lsn, source.file, source.pos, source.row, source.commit_lsn, source.change_lsn)
    return fingerprint(*parts, *place, source.event_serial_no, source.scn, source.rs_id, source.ssn)
