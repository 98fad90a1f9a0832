"""What the browser tests share: pages that remember troubles, orders to send, a look at what is shown."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Error, Page, expect

from agents import client
from agents.settings import Settings

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


def answers(page: Page, url: str) -> bool:
    try:
        return page.request.get(url + "readyz").status == 200
    except Error:
        return False
