"""The page in a real browser, against a running demo: what a person sees and does.

`make test-browser` runs these. Screenshots of every view, width and colour scheme are kept in
`tests/console/screenshots`, to be looked at.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

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
from tests.console.browsing import (
    AXE,
    PATIENCE_SECONDS,
    SHOTS,
    STRANGE,
    TOKEN,
    VIEWS,
    Demo,
    answers,
    choose,
    look_at,
    open_page,
    order,
    send,
    until,
)

pytestmark = pytest.mark.browser


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
        pytest.exit("the browser tests need Chromium: apt-get install chromium", returncode=1)
    if not AXE.exists():
        pytest.exit("the browser tests need axe-core: cd tests/console/page && npm ci", returncode=1)
    with sync_playwright() as playwright:
        # The sandbox needs rights that a container's root does not have; the only pages opened are ours.
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, running: Demo) -> Iterator[Page]:
    """The page at its start, wide and light; no error may have been told at the end."""
    page, troubles = open_page(browser)
    page.goto(running.url)
    expect(page.locator("#live")).to_have_text("live")
    yield page
    page.context.close()
    assert troubles == []


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


def test_before_anything_was_said_every_view_says_so(browser: Browser, running: Demo, tmp_path: Path) -> None:
    settings = Settings(
        kafka=running.settings.kafka,
        topics=TopicSettings(prefix="empty."),
        console=ConsoleSettings(port=demo._free_port()),
    )
    create_missing(settings)
    page, troubles = open_page(browser, 360)
    with ConsoleProcess(settings, tmp_path) as console:
        until(lambda: answers(page, console.url), "the console")
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
        until(lambda: answers(page, console.url), "the console")
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
        expect(page.locator(".alerts li").first).to_be_visible()  # also where it was asked while it caught up
    page.context.close()
