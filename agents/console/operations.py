"""The API's operations, as a table: the server routes by it and the OpenAPI document is made from it.

Any console answers for any customer: it reads the output topics whole, so nothing has to be routed to the
worker that holds a customer's state (docs/decisions/0014).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from agents.console import answers, telling
from agents.console.feed import Feed
from agents.console.queries import AlertQuery, CustomerQuery, Nothing
from agents.console.view import View
from schemas.codec import utc


class NotFound(Exception):  # noqa: N818 - a state of the world, named after it
    """There is no such customer; the message says so."""


class NotReady(Exception):  # noqa: N818 - a state of the world, named after it
    """What was there at the start has not been read yet."""


class Known(NamedTuple):
    """What an operation answers from."""

    view: View
    feed: Feed
    shop: telling.Shop


class Operation(NamedTuple):
    """One operation; all are GET.

    Attributes
    ----------
    path
        With `{name}` for parts that vary.
    query, answer
        Types of what is asked and of what is answered.
    errors
        Statuses besides those that every operation has.
    guarded
        Whether access and rate are checked: not for probes, which tell nothing of a customer.
    """

    path: str
    name: str
    summary: str
    query: type[msgspec.Struct]
    answer: type[msgspec.Struct]
    errors: tuple[int, ...]
    guarded: bool
    run: Callable[[Known, Mapping[str, str], Any], msgspec.Struct]


def _customer(known: Known, path: Mapping[str, str], _query: Nothing) -> answers.Customer:
    found = telling.customer(known.view, path["customer_id"], known.shop)
    if found is None:
        raise NotFound("no customer of that id has a score")
    return found


def health(known: Known) -> answers.Health:
    """Tell how the pipeline is, now."""
    topics, letters = known.feed.health(time.monotonic(), int(time.time() * 1000))
    view = known.view
    return answers.Health(
        caught_up=known.feed.caught_up.is_set(),
        event_time=utc(view.event_ms) if view.event_ms else None,
        topics=topics,
        dead_letters=letters,
        unreadable=view.unreadable,
        customers=len(view.customers),
        dropped_customers=view.dropped_customers,
        dropped_histories=view.dropped_histories,
    )


def _ready(known: Known, _path: Mapping[str, str], _query: Nothing) -> answers.Ready:
    if not known.feed.caught_up.is_set():
        raise NotReady("the topics are still being read from their beginning")
    return answers.Ready()


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "/customers/{customer_id}",
        "getCustomer",
        "State, scores, reasons, segment, predicted value and history of a customer",
        Nothing,
        answers.Customer,
        (404,),
        True,
        _customer,
    ),
    Operation(
        "/customers",
        "findCustomers",
        "Customers whose id contains something, the closest and riskiest first",
        CustomerQuery,
        answers.Customers,
        (),
        True,
        lambda known, _path, query: telling.customers(known.view, query),
    ),
    Operation(
        "/alerts",
        "listAlerts",
        "Alerts, with reasons in words",
        AlertQuery,
        answers.Alerts,
        (),
        True,
        lambda known, _path, query: telling.alerts(known.view, query, known.shop),
    ),
    Operation(
        "/segments",
        "getSegments",
        "How many customers are in which segment, and how they move",
        Nothing,
        answers.Segments,
        (),
        True,
        lambda known, _path, _query: telling.segments(known.view),
    ),
    Operation(
        "/model",
        "getModel",
        "The newest model, and how good the served risks have been",
        Nothing,
        answers.Model,
        (),
        True,
        lambda known, _path, _query: telling.model(known.view),
    ),
    Operation(
        "/health",
        "getHealth",
        "How the pipeline is, as far as its output tells",
        Nothing,
        answers.Health,
        (),
        True,
        lambda known, _path, _query: health(known),
    ),
    Operation(
        "/healthz",
        "isAlive",
        "Whether the process answers",
        Nothing,
        answers.Alive,
        (),
        False,
        lambda _known, _path, _query: answers.Alive(),
    ),
    Operation(
        "/readyz",
        "isReady",
        "Whether everything that was on the topics has been read",
        Nothing,
        answers.Ready,
        (503,),
        False,
        _ready,
    ),
)
