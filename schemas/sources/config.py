"""The settings that say what the inputs are written in, and how a table of orders maps to orders."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ClickFormat = Literal["segment", "cloudevents", "snowplow", "ga4"]
OrderFormat = Literal["segment", "cloudevents", "snowplow", "ga4", "debezium"]

_COLUMN = r"^[^\s]{1,128}$"
_COLUMN_RULE = {"rule": "the name of a column"}
_OPTIONAL = r"^[^\s]{0,128}$"

Column = Annotated[str, Meta(pattern=_COLUMN, extra=_COLUMN_RULE)]
OptionalColumn = Annotated[str, Meta(pattern=_OPTIONAL, extra=_COLUMN_RULE)]


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the inputs are written in."""

    clickstream: Annotated[
        ClickFormat,
        Meta(description="Format of the clickstream: segment, cloudevents, snowplow or ga4."),
    ] = "segment"
    orders: Annotated[
        OrderFormat,
        Meta(description="Format of the orders: segment, cloudevents, snowplow, ga4 or debezium."),
    ] = "segment"
    cloudevents_customer: Annotated[
        Literal["subject", "partitionkey", "none"],
        Meta(description="CloudEvents: attribute that names the customer where the data has no userId."),
    ] = "subject"
    debezium_order_id: Annotated[Column, Meta(description="Debezium: column of the order's id.")] = "id"
    debezium_customer_id: Annotated[Column, Meta(description="Debezium: column of the customer's id.")] = (
        "customer_id"
    )
    debezium_amount: Annotated[
        Column,
        Meta(description="Debezium: column of the revenue, after discounts, before shipping and tax."),
    ] = "total"
    debezium_time: Annotated[
        OptionalColumn,
        Meta(description="Debezium: column of when it was ordered; empty: when the row was written."),
    ] = "created_at"
    debezium_discount: Annotated[
        OptionalColumn, Meta(description="Debezium: column of what the customer saved; empty: there is none.")
    ] = ""
    debezium_refund: Annotated[
        OptionalColumn,
        Meta(description="Debezium: column of the sum paid back; empty: a refunded status means all of it."),
    ] = ""
    debezium_status: Annotated[
        OptionalColumn, Meta(description="Debezium: column of the order's status; empty: there is none.")
    ] = "status"
    debezium_placed: Annotated[
        tuple[str, ...],
        Meta(description="Debezium: statuses from which a row is an order; none listed: every row is one."),
    ] = ()
    debezium_cancelled: Annotated[
        tuple[str, ...], Meta(description="Debezium: statuses that call an order off.")
    ] = ("cancelled", "canceled")
    debezium_refunded: Annotated[
        tuple[str, ...], Meta(description="Debezium: statuses that mean money went back.")
    ] = ("refunded",)

    def problems(self) -> list[str]:
        """Say what contradicts itself, one line each; an empty list when nothing does.

        Examples
        --------
        >>> SourceConfig().problems()
        []
        >>> SourceConfig(debezium_amount="id").problems()
        ['sources: two of the debezium columns are both id']
        >>> SourceConfig(debezium_refunded=("cancelled",)).problems()
        ['sources: the status cancelled has two meanings']
        """
        found = []
        columns: set[str] = set()
        for name in _COLUMNS:
            column = getattr(self, name)
            if column and column in columns:
                found.append(f"sources: two of the debezium columns are both {column}")
            columns.add(column)
        statuses: set[str] = set()
        for listed in (self.debezium_placed, self.debezium_cancelled, self.debezium_refunded):
            for status in dict.fromkeys(word.lower() for word in listed):
                if status in statuses:
                    found.append(f"sources: the status {status} has two meanings")
                statuses.add(status)
        return found


_COLUMNS = (
    "debezium_order_id",
    "debezium_customer_id",
    "debezium_amount",
    "debezium_time",
    "debezium_discount",
    "debezium_refund",
    "debezium_status",
)
