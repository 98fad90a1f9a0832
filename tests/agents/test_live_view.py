"""The demo on a screen of any size, and its last words: nothing is cut off, nothing is made up."""

from __future__ import annotations

import io
import itertools
import re

import msgspec
import pytest
from rich.console import Console

from agents import client, live_view
from agents.cli import main
from agents.demo_ends import Feed
from agents.demo_summary import serving, summary
from agents.live_view import Scene, plain_line, view
from agents.settings import Settings
from agents.tally import Tally
from agents.wording import phrase
from schemas.codec import utc
from schemas.decisions import AlertCause, AlertState, ChurnAlert, Reason
from schemas.learning import ModelSnapshot
from schemas.topics import CHURN_ALERTS
from streams.config import DAY_MS
from streams.customer.features import FEATURE_NAMES
from streams.customer.rfm import RFM_NAMES

FIRST_MS = 852_076_800_000  # 1997-01-01
LAST_MS = 899_164_800_000  # 1998-06-30


def alert(number: int, state: AlertState, cause: AlertCause, *reasons: Reason) -> ChurnAlert:
    return ChurnAlert(
        id=f"{number}/{state}",
        episode=str(number),
        state=state,
        cause=cause,
        customer_id=f"{number:05}",
        event_time=utc(LAST_MS + number * DAY_MS),
        episode_started_at=utc(LAST_MS - 40 * DAY_MS),
        risk=0.8512,
        band="high",
        horizon_days=84.0,
        predicted_value=1_450.0,
        value_at_risk=1_234.5,
        model_version="lr-71877",
        intercept=1.5,
        reasons=list(reasons),
        changed=[],
        evidence=[],
    )


REASONS = (
    Reason("log_orders_84d", "frequency", 0.18, 0.9),
    Reason("log_silence_in_gaps", "rhythm", 1.3047, 0.74),
    Reason("log_silence", "silence", 4.5109, 0.14),
    Reason("log_revenue", "money", 4.6, -0.3),
)


@pytest.fixture
def scene() -> Scene:
    tally = Tally()
    for number in range(8):
        tally.take(CHURN_ALERTS, msgspec.json.encode(alert(number, "raised", "risk", *REASONS)))
    tally.take(CHURN_ALERTS, msgspec.json.encode(alert(5, "resolved", "ordered", REASONS[3])))
    tally.take(CHURN_ALERTS, msgspec.json.encode(alert(6, "resolved", "lapsed")))
    tally.take(CHURN_ALERTS, msgspec.json.encode(alert(7, "escalated", "risk", REASONS[3])))
    tally.steps.update(raised=10_531, escalated=1_972, resolved=7_231)
    tally.causes.update(ordered=3_571, risk_fell=120, lapsed=3_540)
    tally.sizes.update(dict.fromkeys(RFM_NAMES, 15_660))
    for count, (previous, current) in enumerate(itertools.pairwise(RFM_NAMES), start=18_000):
        tally.flows[previous, current] = count
    tally.changes = 230_100
    tally._segments = dict.fromkeys(map(str, range(23_570)), "new")
    tally.model = ModelSnapshot(
        model_version="lr-718770",
        n_learned=718_770,
        event_time=utc(LAST_MS),
        horizon_days=84.0,
        features=list(FEATURE_NAMES),
        centre=[],
        coefficient=[],
        intercept=1.5,
        metrics={"n": 360_500.0, "auc": 0.8116, "log_loss": 0.4538, "ece": 0.011, "churn_rate": 0.7244},
    )
    return Scene(
        tally=tally,
        horizon_days=84.0,
        silent_days=365.0,
        first_ms=FIRST_MS,
        last_ms=LAST_MS,
        reached_ms=FIRST_MS + 225 * DAY_MS,
        processed=69_102,
        sent=69_659,
        total=69_659,
        learned=718_770,
        processed_per_second=152.4,
        learned_per_second=1_830.2,
        seconds=47.2,
        ready=True,
        over=False,
        console_url="http://127.0.0.1:41234/",
    )


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(view(scene, width, height))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (120, 24), (120, 40), (200, 60)])
def test_the_view_fits_and_cuts_nothing_off(scene: Scene, width: int, height: int) -> None:
    shown = drawn(scene, width, height)
    assert len(shown) < height
    assert max(map(len, shown)) <= min(width, 120)
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(shown)
    whole = "\n".join(shown)
    for expected in (
        "real orders of CDNOW",
        "console   http://127.0.0.1:41234/",
        "1997-01-01 to 1998-06-30 (Fader & Hardie); leaving is no order within 84 days",
        "1997-08-14  ",
        " 41%",
        "69,102 processed of 69,659 sent, 152/s",
        "718,770 examples learned, 1,830/s, model lr-718770",
        "AUC 0.812, log loss 0.454, ECE 0.011, churn rate 72%, n 360,500",
        "10,539 raised, 1,973 escalated",
        "7,233: 3,572 came back, 120 risk fell, 3,541 lapsed",
        "Segments of 23,570 customers after 230,100 changes",
        "can't lose            15,660",
    ):
        assert expected in whole


def test_an_alert_is_told_with_whole_reasons_as_many_as_fit(scene: Scene) -> None:
    first = phrase("log_orders_84d", 0.18)
    narrow, wide = drawn(scene, 80, 24), drawn(scene, 120, 40)
    begin = "1998-07-06  00006     raised      85%   $1,234  "
    assert begin + first in narrow
    assert f"{begin}{first}, silent for 2.7 usual gaps" in wide
    most = "most customers here do not order within 84 days"
    for shown, nothing in ((narrow, "no single reason stands out"), (wide, most)):
        whole = "\n".join(shown)
        assert f"00007     escalated   85%   $1,234  {nothing}" in whole
        assert "00005     resolved    85%   $1,234  came back after 45 days" in whole
        assert "00006     resolved    85%   $1,234  lapsed: no order in 46 days" in whole


def test_moves_are_shown_where_there_is_room(scene: Scene) -> None:
    move = " -> ".join(("potential loyalists", "champions"))
    assert move not in "\n".join(drawn(scene, 80, 24))
    for width, height in ((80, 40), (120, 24)):
        assert f"18,008  {move}" in "\n".join(drawn(scene, width, height))


@pytest.mark.parametrize("width", [80, 120])
def test_before_anything_has_happened_the_view_says_what_it_waits_for(scene: Scene, width: int) -> None:
    empty = scene._replace(tally=Tally(), ready=False, processed=0, sent=0, learned=0)
    whole = "\n".join(drawn(empty, width, 24))
    assert "starting a worker: it joins its consumer group ... 47 s" in whole
    assert "model quality needs 168 days: two horizons" in whole
    assert "needs 168 days" in plain_line(empty)


def test_a_terminal_that_is_too_small_shows_what_matters_first(scene: Scene) -> None:
    assert drawn(scene, 60, 12)[0] == "Holdfast on the real orders of CDNOW, an online shop for CDs"


def test_the_last_scene_of_a_live_view_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "FRAME_SECONDS", 60.0)
    paper = io.StringIO()
    console = Console(file=paper, width=80, height=30, force_terminal=True, color_system=None)
    with live_view.live(console) as show:
        show(scene)
        show(scene._replace(processed=1))  # too soon after the one before
        show(scene._replace(over=True, processed=69_659))
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", paper.getvalue())
    assert "69,102 processed of 69,659 sent" in said
    assert " 1 processed of" not in said
    assert "100%" in said.rpartition("69,659 processed of 69,659 sent")[0].rpartition("real orders")[2]


def test_the_summary_says_what_cannot_be_told(scene: Scene) -> None:
    empty = scene._replace(tally=Tally(), processed=1)
    said = summary(empty).plain
    assert "0 customers placed 1 order from" in said
    assert "Whether they were right cannot be told" in said
    assert "Nothing was learned" in said
    young = Tally()
    young.model = msgspec.structs.replace(scene.tally.model, metrics={"n": 0.0})
    assert "None can be judged: that needs 168 days." in summary(scene._replace(tally=young)).plain


def test_what_to_try_next_are_commands_that_exist(scene: Scene) -> None:
    said = summary(scene).plain + serving(scene, Settings(), "http://127.0.0.1:1/metrics").plain
    tried = re.findall(r"(?:holdfast|-m agents)(?: --set \S+)* ([a-z]+)", said)
    assert {"demo", "replay", "watch", "send", "topics"} <= set(tried) <= set(main.commands)


def test_the_order_that_lets_a_customer_come_back_is_one(scene: Scene) -> None:
    said = serving(scene, Settings(), "http://127.0.0.1:1/metrics").plain
    assert "let customer 00007 come back" in said
    assert "# and look at http://127.0.0.1:41234/#/customers/00007\n" in said
    line = said.partition("echo '")[2].partition("'")[0].encode()
    assert client.route(line) == ("orders", b"00007")
    assert Feed.of([msgspec.json.decode(line)]).times_ms == [LAST_MS + DAY_MS]
