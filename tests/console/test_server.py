"""The API and the page: who may ask, what is refused and how, what is pushed."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import openapi_spec_validator
import pytest
from aiohttp.test_utils import TestClient

from agents.cli import main
from agents.console import answers, openapi
from agents.console.access import RateLimit, is_loopback, token_of
from agents.console.feed import News
from agents.console.operations import OPERATIONS
from agents.console.push import MOST_PAGES, MOST_WAITING, Hub
from agents.errors import OperatorError
from agents.sections import ConsoleSettings
from schemas.topics import CHURN_ALERTS
from tests.console.feeding import STRANGE, client_of, console_of, said, until, view_of

TOKEN = "a token of sixteen characters and more"


def asking(test: Callable[[TestClient], Awaitable[None]], **overrides: object) -> None:
    async def run() -> None:
        _, app, _, _ = console_of(view_of(said()), **overrides)
        async with client_of(app) as client:
            await test(client)

    asyncio.run(run())


async def problem(client: TestClient, path: str, status: int, method: str = "GET", **how: object) -> dict:
    async with client.request(method, path, **how) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        told = await response.json()
        assert (told["status"], told["type"]) == (status, "about:blank")
        return told | {"headers": dict(response.headers)}


# Answers


def test_every_operation_answers_by_its_type() -> None:
    async def test(client: TestClient) -> None:
        for operation in OPERATIONS:
            async with client.get(operation.path.replace("{customer_id}", "c1")) as response:
                assert response.status == 200, operation.path
                msgspec.json.decode(await response.read(), type=operation.answer)
                assert response.headers["Cache-Control"] == "no-store"

    asking(test)


def test_a_customer_of_any_name_is_found() -> None:
    from yarl import URL

    async def test(client: TestClient) -> None:
        from urllib.parse import quote

        async with client.get(URL(f"/customers/{quote(STRANGE, safe='')}", encoded=True)) as response:
            assert (await response.json())["customer_id"] == STRANGE

    asking(test)


def test_alerts_since_a_time() -> None:
    async def test(client: TestClient) -> None:
        async with client.get("/alerts?limit=500") as response:
            every = (await response.json())["alerts"]
        middle = every[len(every) // 2]["event_time"]
        async with client.get("/alerts", params={"limit": "500", "since": middle}) as response:
            some = (await response.json())["alerts"]
        assert [a["id"] for a in some] == [a["id"] for a in every if a["event_time"] >= middle]
        assert 0 < len(some) < len(every)

    asking(test)


# Refusals


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/alerts?limit=0", "limit"),
        ("/alerts?limit=x", "limit"),
        ("/alerts?limit=1&limit=2", "limit is given twice"),
        ("/alerts?limits=1", "there is no parameter 'limits'"),
        ("/alerts?since=yesterday", "since"),
        ("/alerts?since=1998-01-01T00:00:00", "since"),
        ("/alerts?state=asleep", "state"),
        ("/alerts?open=1", "open"),
        ("/alerts?min_value=nan", "min_value"),
        ("/customers/c1?full=true", "there is no parameter 'full'"),
        ("/events?who=c1", "there is no parameter 'who'"),
    ],
)
def test_a_query_that_is_wrong_is_told_what_is_wrong(path: str, words: str) -> None:
    async def test(client: TestClient) -> None:
        assert words in (await problem(client, path, 400))["detail"]

    asking(test)


def test_what_is_not_there_and_what_cannot_be_done() -> None:
    async def test(client: TestClient) -> None:
        assert "no customer" in (await problem(client, "/customers/nobody", 404))["detail"]
        await problem(client, "/nowhere", 404)
        told = await problem(client, "/alerts", 405, "POST")
        assert told["headers"]["Allow"] == "GET,HEAD" or told["headers"]["Allow"] == "GET, HEAD"
        await problem(client, "/alerts", 406, headers={"Accept": "text/html"})

    asking(test)


def test_too_many_requests_are_told_when_to_come_back() -> None:
    async def test(client: TestClient) -> None:
        for _ in range(10):
            async with client.get("/model") as response:
                assert response.status == 200
        told = await problem(client, "/model", 429)
        assert told["headers"]["Retry-After"] == "1"
        async with client.get("/healthz") as response:  # a probe is never held up
            assert response.status == 200

    asking(test, console__requests_per_second=1.0)


def test_a_bucket_fills_again_and_clients_have_their_own() -> None:
    limit = RateLimit(per_second=2.0, burst=4.0)
    assert [limit.wait_seconds("a", 0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
    assert [limit.wait_seconds("a", 0.5), limit.wait_seconds("a", 0.5)] == [0.0, 0.5]
    assert limit.wait_seconds("b", 0.5) == 0.0
    assert [limit.wait_seconds("a", 1e6) for _ in range(5)][-1] > 0.0  # no more than a burst


def test_not_ready_before_everything_is_read() -> None:
    async def run() -> None:
        _, app, feed, _ = console_of(view_of([]))
        feed.caught_up.clear()
        async with client_of(app) as client:
            await problem(client, "/readyz", 503)
            async with client.get("/healthz") as response:
                assert response.status == 200

    asyncio.run(run())


# Who may ask


def test_with_a_token_nothing_of_a_customer_is_told_without_it() -> None:
    async def test(client: TestClient) -> None:
        for path in [op.path for op in OPERATIONS if op.guarded] + ["/events"]:
            told = await problem(client, path.replace("{customer_id}", "c1"), 401)
            assert told["headers"]["WWW-Authenticate"] == "Bearer"
        for wrong in ("Bearer guess", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer ü"):
            await problem(client, "/alerts", 401, headers={"Authorization": wrong})
        async with client.get("/alerts", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200
        for path in ("/", "/console.js", "/healthz", "/openapi.json"):  # nothing of a customer
            async with client.get(path) as response:
                assert response.status == 200

    asking(test, console__token=TOKEN, console__host="0.0.0.0")


def test_another_name_for_this_machine_is_not_answered() -> None:
    """A page of somebody else's could give 127.0.0.1 a name of its own."""

    async def test(client: TestClient) -> None:
        await problem(client, "/alerts", 403, headers={"Host": "evil.example:6067"})
        async with client.get("/alerts", headers={"Host": "localhost:6067"}) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers

    asking(test)


def test_a_console_that_others_can_reach_does_not_start_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="a token is needed"):
        token_of(ConsoleSettings(host="0.0.0.0"))
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    assert token_of(ConsoleSettings(host="0.0.0.0", token_file=str(file))) == TOKEN
    file.write_text("short")
    with pytest.raises(OperatorError, match="fewer than 16"):
        token_of(ConsoleSettings(token_file=str(file)))
    with pytest.raises(OperatorError, match="No such file"):
        token_of(ConsoleSettings(token_file=str(tmp_path / "none")))
    assert "sixteen" not in repr(ConsoleSettings(token=TOKEN))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_the_command_fails_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    for arguments, words in [
        (["--set", "console.host=0.0.0.0", "console"], "holdfast: console.host: others can reach 0.0.0.0"),
        (["--set", f"console.token={TOKEN}", "console"], "holdfast: Invalid value for '--set': a token on"),
        (["--set", "kafka.bootstrap=127.0.0.1:1", "console"], "holdfast: no Kafka broker answers"),
    ]:
        result = CliRunner().invoke(main, arguments, prog_name="holdfast")
        assert result.exit_code != 0
        assert result.stderr.startswith(words)
        assert result.stderr.count("\n") == 1
    gc.collect()  # kafka-python leaves the socket of a broker that did not answer


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.8.9.1", True), ("::1", True), ("LOCALHOST", True), ("10.0.0.1", False), ("localhost.evil", False)],
)
def test_loopback_names(host: str, own: bool) -> None:
    assert is_loopback(host) is own


# The page


def test_the_page_asks_nobody_else_for_anything() -> None:
    async def test(client: TestClient) -> None:
        async with client.get("/") as response:
            page = await response.text()
            policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        names = set(re.findall(r'(?:href|src)="([^#"]+)"', page))
        texts = [page]
        for name in names:
            async with client.get(f"/{name}") as response:
                assert response.status == 200, name
                texts.append(await response.text())
        for name in {found for text in texts for found in re.findall(r'from "\./([a-z]+\.js)"', text)}:
            async with client.get(f"/{name}") as response:
                assert response.content_type == "text/javascript"
                texts.append(await response.text())
        elsewhere = {u for text in texts for u in re.findall(r"(?:https?:)?//[a-z][^\s\"']+", text)}
        assert {u for u in elsewhere if not u.endswith("www.w3.org/2000/svg")} == set()
        assert not any(re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|style=", t) for t in texts)

    asking(test)


# What is pushed


async def events(response: object) -> tuple[str, dict]:
    name = (await response.content.readline()).decode()  # type: ignore[attr-defined]
    payload = (await response.content.readline()).decode()  # type: ignore[attr-defined]
    await response.content.readline()  # type: ignore[attr-defined]
    return name.strip().removeprefix("event: "), json.loads(payload.removeprefix("data: "))


def test_a_page_is_told_of_alerts_and_of_the_customer_that_it_shows() -> None:
    async def run() -> None:
        messages = list(said())
        last = max(place for place, m in enumerate(messages) if m.topic == CHURN_ALERTS)
        view = view_of(messages[:last])
        server, app, _, hub = console_of(view)
        async with client_of(app) as client:
            shown, other = messages[last].key.decode(), "c1" if messages[last].key != b"c1" else "c2"
            async with (
                client.get("/events", params={"customer": shown}) as mine,
                client.get("/events", params={"customer": other}) as theirs,
            ):
                assert mine.content_type == "text/event-stream"
                for response in (mine, theirs):
                    name, pulse = await events(response)
                    assert (name, pulse["open_alerts"]) == ("pulse", len(view.open))
                alert = view.take(*messages[last])
                assert alert is not None
                server.tell(News([alert], {shown}))
                name, told = await events(mine)
                assert (name, told["id"]) == ("alert", alert.id)
                assert msgspec.convert(told, answers.Alert).words
                name, told = await events(mine)
                assert (name, told["customer_id"]) == ("customer", shown)
                assert (await events(theirs))[0] == "alert"
                server.tell(News([], {other}))
                name, told = await events(theirs)  # not of the first customer
                assert (name, told["customer_id"]) == ("customer", other)
            server.tell(News([alert], set()))
            await until(lambda: len(hub) == 0, "pages that have gone are forgotten")

    asyncio.run(run())


def test_a_page_that_does_not_keep_up_is_let_go() -> None:
    async def run() -> None:
        hub = Hub()
        page, other = hub.open("slow"), hub.open("quick")
        assert page is not None
        assert other is not None
        for number in range(MOST_WAITING + 1):
            hub.publish(b"%d" % number)
            assert await other.next() == b"%d" % number
        assert len(hub) == 1
        assert await page.next() is None

    asyncio.run(run())


def test_there_is_a_most_of_pages() -> None:
    async def run() -> None:
        hub = Hub()
        pages = [hub.open() for _ in range(MOST_PAGES)]
        assert None not in pages
        assert hub.open() is None
        hub.close_all()
        assert len(hub) == 0

    asyncio.run(run())


# The document


def test_the_openapi_document_is_current_and_valid() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.text(), "run python -m agents.console.openapi"
    openapi_spec_validator.validate(json.loads(openapi.text()))


def test_the_document_is_served() -> None:
    async def test(client: TestClient) -> None:
        async with client.get("/openapi.json") as response:
            assert await response.json() == openapi.document()

    asking(test)
