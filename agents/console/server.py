"""The console's web server: a page, the API behind it, and a stream of what is new.

It is the edge and no more: it checks who asks and how often, reads the query by its type, runs the operation
and writes the answer. Every error is a problem document (RFC 9457). The page needs nothing from elsewhere,
and the content security policy holds it to that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib import resources

import msgspec
from aiohttp import web

from agents.console import answers, openapi, telling
from agents.console.access import Access, RateLimit, token_of
from agents.console.feed import Feed, News
from agents.console.operations import OPERATIONS, Known, NotFound, NotReady, Operation, health
from agents.console.push import Hub, Page, event_bytes
from agents.console.queries import BadQuery, Nothing, read_query
from agents.console.view import Bounds, View
from agents.errors import EXIT_BUG, OperatorError
from agents.settings import Settings

log = logging.getLogger(__name__)

PULSE_SECONDS = 1.0
_BURST_SECONDS = 10.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "holdfast",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What an open page is told once a second."""

    money_at_risk: float
    open_alerts: int
    segments: answers.Segments
    health: answers.Health
    model_version: str | None


class _Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the page shows."""

    customer: str = ""


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """Write an error.

    Examples
    --------
    >>> problem(404, "nothing here").text
    '{"type":"about:blank","title":"Not Found","status":404,"detail":"nothing here"}'
    """
    told = answers.Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return web.Response(
        status=status,
        body=msgspec.json.encode(told),
        content_type="application/problem+json",
        headers=headers,
    )


class Server:
    """The console, without Kafka: what it serves follows from a view.

    Parameters
    ----------
    settings
        Who may ask, how often, and how amounts are written.
    view
        What is known.
    feed
        Who fills it.
    """

    def __init__(self, settings: Settings, view: View, feed: Feed, hub: Hub) -> None:
        console = settings.console
        token = token_of(console)
        shop = telling.Shop(
            raise_at=settings.alerts.raise_at,
            lookahead_days=settings.alerts.lookahead_days,
            value_days=settings.value.horizon_days,
            currency=console.currency,
        )
        self._known = Known(view, feed, shop)
        self._hub = hub
        self._access = Access(token)
        self._limit = RateLimit(console.requests_per_second, _BURST_SECONDS * console.requests_per_second)
        self._document = openapi.text().encode()

    def app(self) -> web.Application:
        """Make the application."""
        app = web.Application(middlewares=[self._answer])
        for operation in OPERATIONS:
            app.router.add_get(operation.path, self._run(operation))
        app.router.add_get("/events", self._guarded(self._events), allow_head=False)
        app.router.add_get("/openapi.json", self._openapi)
        for name, kind, body in _static():
            app.router.add_get("/" if name == "index.html" else f"/{name}", _file(kind, body))
        app.on_shutdown.append(self._end)
        return app

    async def _end(self, _app: web.Application) -> None:
        self._hub.close_all()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except BadQuery as error:
            response = problem(400, str(error))
        except NotFound as error:
            response = problem(404, str(error))
        except NotReady as error:
            response = problem(503, str(error), {"Retry-After": "1"})
        except web.HTTPMethodNotAllowed as error:
            allowed = {"Allow": ", ".join(sorted(error.allowed_methods))}
            response = problem(405, f"{error.method} is not a method of this address", allowed)
        except web.HTTPException as error:
            response = problem(error.status, "there is nothing at this address")
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            wait = self._limit.wait_seconds(request.remote or "", time.monotonic())
            if wait:
                return problem(429, "too many requests", {"Retry-After": str(math.ceil(wait))})
            refusal = self._access.refusal(request.host, request.headers.get("Authorization"))
            if refusal is not None:
                challenge = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
                return problem(refusal.status, refusal.detail, challenge)
            return await handler(request)

        return guarded

    def _run(self, operation: Operation) -> Handler:
        async def run(request: web.Request) -> web.StreamResponse:
            if not accepts(request.headers.get("Accept"), "application", "json"):
                return problem(406, "the answer is application/json")
            query = read_query(request.query.items(), operation.query)
            answer = operation.run(self._known, request.match_info, query)
            return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

        return self._guarded(run) if operation.guarded else run

    async def _openapi(self, request: web.Request) -> web.Response:
        read_query(request.query.items(), Nothing)
        return web.Response(body=self._document, content_type="application/json")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        page = self._hub.open(read_query(request.query.items(), _Watch).customer)
        if page is None:
            return problem(503, "too many pages are open", {"Retry-After": "10"})
        headers = _HEADERS | {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        try:
            await response.prepare(request)
            await response.write(event_bytes("pulse", self._pulse()))
            await self._push(response, page)
        except ConnectionError:
            log.debug("a page has gone")
        finally:
            self._hub.close(page)
        return response

    async def _push(self, response: web.StreamResponse, page: Page) -> None:
        while (event := await page.next()) is not None:
            await response.write(event)

    # What is new

    def tell(self, news: News) -> None:
        """Tell the open pages what a batch has brought."""
        if not len(self._hub):
            return
        for alert in news.alerts:
            self._hub.publish(event_bytes("alert", telling.alert_of(self._known.view, alert)))
        for customer_id in self._hub.watched() & news.customers:
            found = telling.customer(self._known.view, customer_id, self._known.shop)
            if found is not None:
                self._hub.publish(event_bytes("customer", found), customer_id)

    async def pulse(self) -> None:
        """Tell the open pages once a second how things are, for ever."""
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            if len(self._hub):
                self._hub.publish(event_bytes("pulse", self._pulse()))

    def _pulse(self) -> Pulse:
        view = self._known.view
        return Pulse(
            money_at_risk=sum(alert.value_at_risk for alert in view.open.values()),
            open_alerts=len(view.open),
            segments=telling.segments(view),
            health=health(self._known),
            model_version=view.models.latest.model_version if view.models.latest else None,
        )


def accepts(header: str | None, kind: str, subtype: str) -> bool:
    """Tell whether an Accept header allows a media type.

    Examples
    --------
    >>> [accepts(header, "application", "json") for header in (None, "*/*", "text/html, application/*;q=.5")]
    [True, True, True]
    >>> accepts("text/html", "application", "json"), accepts("application/json;q=0", "application", "json")
    (False, False)
    """
    if header is None or not header.strip():
        return True
    best: dict[int, float] = {}
    for part in header.split(","):
        range_, *parameters = [piece.strip().casefold() for piece in part.split(";")]
        rank = {f"{kind}/{subtype}": 2, f"{kind}/*": 1, "*/*": 0}.get(range_)
        if rank is not None:
            best[rank] = max(best.get(rank, 0.0), _weight(parameters))
    return bool(best) and best[max(best)] > 0.0


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0


def _static() -> list[tuple[str, str, bytes]]:
    folder = resources.files("agents.console") / "static"
    return [
        (file.name, _TYPES[file.name.rpartition(".")[2]], file.read_bytes())
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    ]


def _file(kind: str, body: bytes) -> Handler:
    async def send(_request: web.Request) -> web.StreamResponse:
        charset = None if kind == "image/svg+xml" else "utf-8"
        return web.Response(body=body, content_type=kind, charset=charset)

    return send


# The process


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Read the topics and serve, until SIGINT or SIGTERM.

    Parameters
    ----------
    settings
        All of them.
    say
        Takes the page's address, once it is served.

    Raises
    ------
    OperatorError
        When the broker, a topic, a token or the port is missing.
    """
    try:
        asyncio.run(_serve(settings, say))
    except OperatorError:
        raise
    except Exception:  # noqa: BLE001 - the one place where anything unexpected ends the process
        traceback.print_exc()
        sys.exit(EXIT_BUG)


async def _serve(settings: Settings, say: Callable[[str], None]) -> None:
    console = settings.console
    view = View(Bounds(customers=console.max_customers, moments=console.max_moments))
    server: Server | None = None

    def tell(news: News) -> None:
        if server is not None:
            server.tell(news)

    feed = Feed(settings, view, tell)
    server = Server(settings, view, feed, Hub())
    partitions = await asyncio.to_thread(feed.partitions)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        site = web.TCPSite(runner, console.host, console.port)
        try:
            await site.start()
        except OSError as error:
            raise OperatorError(
                f"cannot listen at {console.host}:{console.port}: {os.strerror(error.errno or 0)}; "
                "set console.port to another, or 0"
            ) from None
        say(f"http://{_shown(console.host)}:{runner.addresses[0][1]}/")
        work = [asyncio.create_task(part) for part in (feed.run(partitions), server.pulse(), stopped.wait())]
        done, rest = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for task in done:
            task.result()
    finally:
        await runner.cleanup()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
