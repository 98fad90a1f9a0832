"""The report's page in Chromium, on a telephone and on a desk: every label can be read, none is cut off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from agents.lines import Lines
from agents.replay import PAGE, replay_files
from agents.settings import load
from samples.shop import ShopConfig, messages
from samples.write import lines

pytestmark = pytest.mark.browser

LEAST_PIXELS = 10.0

MEASURE = """() => [...document.querySelectorAll('svg')].filter(s => s.clientWidth).map(s => {
  const own = s.getBoundingClientRect(), scale = own.width / s.viewBox.baseVal.width;
  const texts = [...s.querySelectorAll('text')], boxes = texts.map(t => t.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 2 && b.top < a.bottom - 2;
  return {
    about: s.getAttribute('aria-label'),
    pixels: Math.min(...texts.map(t => parseFloat(getComputedStyle(t).fontSize) * scale)),
    cut: texts.filter((t, i) => boxes[i].left < own.left - 1 || boxes[i].right > own.right + 1
      || boxes[i].top < own.top - 1 || boxes[i].bottom > own.bottom + 1).map(t => t.textContent),
    upon: texts.filter((t, i) => boxes.some((b, j) => j < i && meet(boxes[i], b))).map(t => t.textContent),
  };
})"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shop = ShopConfig(customers=60, days=200, seed=7)
    (folder / "shop.jsonl").write_bytes(b"".join(lines(messages(shop))))
    settings = load(Path("/dev/null"), {}, {"reviews.horizon_days": 14.0})
    early = load(Path("/dev/null"), {}, {"reviews.horizon_days": 14.0, "alerts.raise_at": 0.75})
    files = [Lines(str(folder / "shop.jsonl"))]
    replay_files(settings, files, folder / "out", variants={"early": early}, resamples=20)
    return folder / "out" / PAGE


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.exit("the browser tests need Chromium: apt-get install chromium", returncode=1)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_labels_are_whole_apart_and_large_enough_and_the_page_is_no_wider_than_the_window(
    page_file: Path, chromium: Browser, width: int
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(page_file.as_uri())
    plots: list[dict[str, Any]] = page.evaluate(MEASURE)
    assert [plot["about"] for plot in plots] == [
        "Reliability curve",
        "Log loss over event time",
        "Lift by decile",
        "Alerts a day",
        "Lead time of right alerts",
    ]
    for plot in plots:
        assert (plot["cut"], plot["upon"]) == ([], []), plot
        assert plot["pixels"] >= LEAST_PIXELS, plot
    assert page.evaluate("document.documentElement.scrollWidth") == width
    reasons = page.locator(".stack td.text").first.bounding_box()
    assert reasons is not None
    assert reasons["width"] > 200
    page.close()
