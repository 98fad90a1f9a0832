"""What a worker's port answers: metrics, and nothing else."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest

from agents import metrics
from agents.sections import WebSettings
from agents.settings import Settings
from agents.worker import serve_metrics


@pytest.fixture(scope="module")
def address() -> str:
    return f"http://127.0.0.1:{serve_metrics(Settings(web=WebSettings(port=0)))}"


def status(url: str, method: str = "GET") -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5.0) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=holdfast_records_total"])
def test_metrics_are_served(address: str, path: str) -> None:
    metrics.RECORDS.labels("orders", "applied").inc(0)
    with urllib.request.urlopen(address + path, timeout=5.0) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b"holdfast_records_total" in answer.read()


@pytest.mark.parametrize(
    "path", ["/table", "/table/", "/", "/graph", "/router", "/metrics/", "/metrics/../table"]
)
def test_faust_s_tables_and_everything_else_is_not_there(address: str, path: str) -> None:
    assert status(address + path) == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_sent(address: str, method: str) -> None:
    assert status(address + "/metrics", method) == 501


def test_by_default_only_this_machine_can_ask() -> None:
    assert Settings().web.host == "127.0.0.1"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_address_of_ipv6_will_do() -> None:
    port = serve_metrics(Settings(web=WebSettings(host="::1", port=0)))
    assert status(f"http://[::1]:{port}/metrics") == 200
