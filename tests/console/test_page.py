"""The page in a real browser, against a running demo: what a person sees and does.

`make test-browser` runs these. Screenshots of every view, width and colour scheme are kept in
`tests/console/screenshots`, to be looked at.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console

from agents import client, commands_demo, demo, demo_ends
from agents.cluster import create_missing
from agents.sections import ConsoleSettings, TopicSettings
from agents.settings import Settings, load
from agents.worker_process import ConsoleProcess
from samples.cdnow import messages
from schemas.topics import CHURN_ALERTS
from streams.config import DAY_MS

pytestmark = pytest.mark.browser

FOLDER = Path(__file__).parent
SHOTS = FOLDER / "screenshots"
AXE = FOLDER / "page" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_SECONDS = 90.0
STRANGE = "<img src=x onerror=alert(1)>&amp;" + "verylong" * 11  # printable, and as long as an id may be
TOKEN = "a token of sixteen characters and more"
VIEWS = ("", "segments", "model", "pipeline")


class Demo(NamedTuple):
    url: str
    settings: Settings


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:g} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    """The demo, with two hundred of its customers; it stays when all is done."""
    known: list[Settings] = []
    failed: list[BaseException] = []
    stays, stop = threading.Event(), threading.Event()

    def configure(overrides: Mapping[str, object]) -> Settings:
        known.append(load(Path(os.devnull), {}, {**commands_demo.CHOSEN, **overrides}))
        return known[0]

    def wait(*_parts: object) -> None:
        stays.set()
        stop.wait()

    def run() -> None:
        some = (message for message in messages() if int(message["userId"]) <= 200)
        options = demo.Options(plain=True, serve=True, timeout=PATIENCE_SECONDS)
        try:
            demo.run(configure, lambda: some, Console(file=io.StringIO(), width=1_000), options)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            stays.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "_wait", wait)
        patch.setattr(demo_ends, "AHEAD_MS", 90 * DAY_MS)  # quicker; the pace has a test of its own
        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert stays.wait(2 * PATIENCE_SECONDS)
            assert failed == []
            yield Demo(f"http://127.0.0.1:{known[0].console.port}/", known[0])
        finally:
            stop.set()
            thread.join(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.fail("the browser tests need Chromium: apt-get install chromium", pytrace=False)
    if not AXE.exists():
        pytest.fail("the browser tests need axe-core: cd tests/console/page && npm ci", pytrace=False)
    with sync_playwright() as playwright:
        # The sandbox needs rights that a container's root does not have; the only pages opened are ours.
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


def open_page(browser: Browser, width: int = 1440, scheme: str = "light") -> tuple[Page, list[str]]:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page, troubles = context.new_page(), list[str]()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    return page, troubles


@pytest.fixture
def page(browser: Browser, running: Demo) -> Iterator[Page]:
    """The page at its start, wide and light; no error may have been told at the end."""
    page, troubles = open_page(browser)
    page.goto(running.url)
    expect(page.locator("#live")).to_have_text("live")
    yield page
    page.context.close()
    assert troubles == []


_numbers = itertools.count()


def order(customer: str, day: str) -> bytes:
    number = next(_numbers)
    message = {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"b-{number}",
        "userId": customer,
        "timestamp": f"{day}T12:00:00Z",
        "properties": {"order_id": f"b-{number}", "revenue": 20.0},
    }
    return json.dumps(message).encode()


def send(settings: Settings, lines: list[bytes]) -> None:
    """Send from a thread: playwright has an event loop of its own in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(client.send, settings, lines).result()


def choose(page: Page, label: str, value: str) -> None:
    """Choose in a filter, and wait for the server's answer."""
    with page.expect_response("**/alerts?*") as answered:
        page.get_by_label(label, exact=True).select_option(value)
    count = min(200, answered.value.json()["matching"])
    expect(page.locator(".alerts li")).to_have_count(count)


# A newcomer's path


def test_from_the_address_to_a_customer_with_a_reason_that_makes_sense(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Who is about to leave")
    expect(page.locator(".tile.main dd")).to_have_text(re.compile(r"^\$[\d,.]+$"))
    choose(page, "Order", "money")
    first = page.locator(".alerts li").first
    expect(first).to_be_visible()
    name = first.locator(".who a").inner_text()
    expect(first.locator(".why")).to_have_text(re.compile(r"[a-z]{3,}.*\.$"))
    first.locator(".who a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Customer {name}")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert page.title() == f"{name} – Holdfast"
    expect(page.locator(".verdict")).to_have_text(re.compile(r"\d+ %\s*likely not to order within 84 days"))
    expect(page.locator(".saying")).to_have_text(re.compile(r"silent|order|customers here", re.I))
    assert page.locator(".reasons li").count() >= 2
    expect(page.locator(".whatif li").first).to_contain_text("One more order")
    expect(page.locator(".whatif li").first).to_contain_text("down")
    expect(page.locator(".chart svg polyline").first).to_be_visible()
    expect(page.locator(".timeline li.order").first).to_contain_text("Order")
    page.get_by_text("← Alerts").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Who is about to leave")


def test_the_alerts_can_be_filtered_and_ordered(page: Page) -> None:
    rows = page.locator(".alerts li")
    choose(page, "Show", "false")
    choose(page, "Order", "money")
    amounts = [float(re.sub(r"[^\d.]", "", text)) for text in page.locator(".money b").all_inner_texts()]
    assert amounts == sorted(amounts, reverse=True)
    assert len(amounts) > 5
    with page.expect_response("**/alerts?*"):
        page.get_by_label("At least").fill(f"{(amounts[2] + amounts[3]) / 2:.3f}")
    expect(rows).to_have_count(3)
    choose(page, "State", "resolved")
    assert set(page.locator(".alerts .badge").all_inner_texts()) <= {"resolved"}
    page.get_by_label("Customer", exact=True).fill("nobody is called so")
    expect(page.get_by_text("No alert matches these filters.")).to_be_visible()
    expect(rows).to_have_count(0)


def test_the_search_works_by_keyboard_alone(page: Page) -> None:
    name = page.locator(".alerts li .who a").first.inner_text()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    box = page.get_by_role("searchbox", name="Find a customer by id")
    while not box.evaluate("box => box === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.type(name)
    found = page.locator("#found a")
    expect(found.first).to_contain_text(name)
    page.keyboard.press("ArrowDown")
    expect(found.first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#found")).to_be_hidden()
    expect(box).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Customer {name}")


def test_what_has_focus_is_seen(page: Page) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement);"
            " return [s.outlineStyle, parseFloat(s.outlineWidth)]; })()"
        )
        assert outline == ["solid", 3]


def test_a_customer_who_is_not_there_is_told(page: Page, running: Demo) -> None:
    page.context.clear_cookies()
    response = page.request.get(running.url + "customers/nobody")
    assert response.status == 404


# What is pushed


def test_a_new_alert_arrives_without_a_reload_within_two_seconds(
    page: Page, running: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(page, "Show", "false")
    expect(page.locator(".badge.resolved").first).to_be_visible()
    page.evaluate(
        """() => {
            window.seen = {};
            const look = () => document.querySelectorAll(".alerts li").forEach((row) => {
                window.seen[row.dataset.id] ??= Date.now();
            });
            look();
            window.before = Object.keys(window.seen);
            new MutationObserver(look).observe(document.querySelector(".alerts"), {childList: true});
        }"""
    )
    # Orders of newcomers bring all partitions a month further: somebody's silence becomes too long.
    lines = [order(f"n{number}", day) for day in ("1998-07-15", "1998-08-05") for number in range(16)]
    send(running.settings, lines)
    until(lambda: page.evaluate("Object.keys(window.seen).length > window.before.length"), "a new alert")
    seen: dict[str, float] = page.evaluate("window.seen")
    fresh = set(seen) - set(page.evaluate("window.before"))
    published: dict[str, int] = {}
    for record in client.watch(
        running.settings, [CHURN_ALERTS], from_beginning=True, timeout=PATIENCE_SECONDS
    ):
        published[json.loads(record.value or b"")["id"]] = record.time_ms
        if fresh <= set(published):
            break
    delays = sorted((seen[one] - published[one]) / 1000 for one in fresh)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(delays)} alerts from publish to page: median {delays[len(delays) // 2]:.3f} s, "
            f"most {delays[-1]:.3f} s\n"
        )
    assert delays[-1] < 2.0


def test_the_customer_who_is_shown_is_kept_current(page: Page, running: Demo) -> None:
    name = page.locator(".alerts li .who a").last.inner_text()
    page.locator(".alerts li .who a").last.click()
    expect(page.locator(".badge").first).to_have_text(re.compile("^alert"))
    before = page.locator(".timeline li.order").count()
    send(running.settings, [order(name, "1998-08-20")])
    expect(page.locator(".timeline li.order")).to_have_count(before + 1, timeout=20_000)
    expect(page.locator(".badge.raised, .badge.escalated")).to_have_count(0)


def test_a_hostile_name_is_only_a_name(page: Page, running: Demo) -> None:
    assert len(STRANGE) <= 128
    send(running.settings, [order(STRANGE, "1998-08-21")])

    def found() -> bool:
        return page.request.get(running.url + "customers", params={"q": "<img"}).json()["matching"] == 1

    until(found, "the customer")
    page.get_by_role("searchbox", name="Find a customer by id").fill("<img")
    page.locator("#found a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Customer {STRANGE}")
    assert page.locator("main img").count() == 0
    page.set_viewport_size({"width": 360, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "hostile-360-light.png", full_page=True)


# How it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_view_is_accessible_and_fits(browser: Browser, running: Demo, width: int, scheme: str) -> None:
    page, troubles = open_page(browser, width, scheme)
    page.goto(running.url)
    customer = page.locator(".alerts li .who a").first.get_attribute("href") or ""
    SHOTS.mkdir(exist_ok=True)
    for view in (*VIEWS, customer.removeprefix("#/"), "customers/nobody%20at%20all"):
        page.goto(f"{running.url}#/{view}")
        name = view.partition("/")[0] + ("-none" if "nobody" in view else "") or "alerts"
        look_at(page, name, width, scheme)
    page.context.close()
    assert [trouble for trouble in troubles if "404" not in trouble] == []


def look_at(page: Page, name: str, width: int, scheme: str) -> None:
    """Check what is shown and keep a picture of it."""
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator("#live")).to_have_text("live")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    report: dict[str, Any] = page.evaluate("axe.run()")
    wrong = [
        (found["id"], found["impact"], [node["html"] for node in found["nodes"]][:3])
        for found in report["violations"]
    ]
    assert wrong == [], name
    assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)


def test_before_anything_was_said_every_view_says_so(browser: Browser, running: Demo, tmp_path: Path) -> None:
    settings = Settings(
        kafka=running.settings.kafka,
        topics=TopicSettings(prefix="empty."),
        console=ConsoleSettings(port=demo._free_port()),
    )
    create_missing(settings)
    page, troubles = open_page(browser, 360)
    with ConsoleProcess(settings, tmp_path) as console:
        until(lambda: _answers(page, console.url), "the console")
        SHOTS.mkdir(exist_ok=True)
        for view, words in (
            ("", "No alert yet."),
            ("segments", "Nobody has moved yet."),
            ("model", "Nothing was learned yet"),
            ("pipeline", "caught up"),
        ):
            page.goto(f"{console.url}#/{view}")
            expect(page.locator("main")).to_contain_text(words)
            look_at(page, f"empty-{view or 'alerts'}", 360, "light")
    page.context.close()
    assert [trouble for trouble in troubles if "ERR_CONNECTION" not in trouble] == []


# A console with a token, which goes away and comes back


def test_a_console_asks_for_its_token_and_a_page_finds_back_to_it(
    browser: Browser, running: Demo, tmp_path: Path
) -> None:
    settings = Settings(
        kafka=running.settings.kafka,
        topics=running.settings.topics,
        console=ConsoleSettings(port=demo._free_port(), token=TOKEN),
    )
    page, _ = open_page(browser, 360)
    with ConsoleProcess(settings, tmp_path) as console:
        until(lambda: _answers(page, console.url), "the console")
        page.goto(console.url)
        expect(page.get_by_role("heading", level=1)).to_have_text("This console needs a token")
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SHOTS / "token-360-light.png")
        page.get_by_label("Token").fill("a guess")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That token was not accepted.")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Who is about to leave")
        expect(page.locator("#live")).to_have_text("live")
        console.stop()
        expect(page.locator("#live")).to_have_text("reconnecting")
        console.start()
        expect(page.locator("#live")).to_have_text("live", timeout=20_000)
        assert page.locator(".alerts li").count() > 0
    page.context.close()


def _answers(page: Page, url: str) -> bool:
    from playwright.sync_api import Error

    try:
        return page.request.get(url + "readyz").status == 200
    except Error:
        return False
