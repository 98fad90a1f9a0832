"""Keeping who the visitor is changes nothing else, and what workers tell each other reads back as it was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import WireError, decode_event, utc
from schemas.events import Anonymous, Click, Funnel, Identified, Link, Visit
from schemas.identity import IDENTIFIED, click_message, decode_with_visitor, link_message
from schemas.sources.config import SourceConfig
from schemas.sources.registry import decoder_for
from schemas.topics import CLICKSTREAM, INPUTS
from tests.schemas.test_examples import examples, name_of

T0 = 1_767_225_600_000
moments = st.integers(T0, T0 + 10**10)
ids = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=2, max_size=30).filter(
    lambda text: text.isprintable() and text.strip("0-") and len(text) > 10
)


@pytest.mark.parametrize("path", examples(INPUTS, "valid"), ids=name_of)
def test_a_valid_message_is_the_same_event_with_the_visitor_beside_it(path: Path) -> None:
    value = path.read_bytes()
    plain, kept = decode_event(value), decode_with_visitor(value)
    visitor = msgspec.json.decode(value).get("anonymousId")
    if isinstance(kept, Identified):
        assert (kept.event, kept.anonymous_id) == (plain, visitor)
    elif isinstance(kept, Visit):
        assert type(plain) is Anonymous
        assert kept.anonymous_id == visitor
    else:
        assert kept == plain
        assert not (visitor and plain.customer_id)
    assert (kept.customer_id, kept.message_id, kept.time_ms) == (
        plain.customer_id,
        plain.message_id,
        plain.time_ms,
    )


@pytest.mark.parametrize("path", examples(INPUTS, "invalid"), ids=name_of)
def test_an_invalid_message_is_refused_in_the_same_words(path: Path) -> None:
    with pytest.raises(WireError) as plain:
        decode_event(path.read_bytes())
    with pytest.raises(WireError) as kept:
        decode_with_visitor(path.read_bytes())
    assert str(kept.value) == str(plain.value)


@pytest.mark.parametrize(("value", "most"), [(None, 10), (b"x" * 11, 10)])
def test_a_message_that_is_missing_or_too_large_is_refused(value: bytes | None, most: int) -> None:
    with pytest.raises(WireError):
        decode_with_visitor(value, most)


@pytest.mark.parametrize(
    ("name", "funnel"),
    [("Product Added", Funnel.CART_ADD), ("Shop's Own", Funnel.OTHER), (None, Funnel.PAGE)],
)
def test_a_visitors_click_has_its_step_of_the_funnel(name: str | None, funnel: Funnel) -> None:
    head = {"type": "track" if name else "page", "event": name, "messageId": "m", "timestamp": utc(T0)}
    event = decode_with_visitor(msgspec.json.encode(head | {"anonymousId": "a-7"}))
    assert event == Visit("", "m", T0, "a-7", funnel)


@pytest.mark.parametrize("head", [{"type": "identify"}, {"type": "track", "event": "Email Delivered"}])
def test_what_is_no_act_of_a_visitor_is_no_click(head: dict[str, str]) -> None:
    more = {"messageId": "m", "timestamp": utc(T0), "anonymousId": "a-7"}
    assert type(decode_with_visitor(msgspec.json.encode(head | more))) is Anonymous


@settings(derandomize=True, deadline=None)
@given(ids, st.binary(min_size=8, max_size=8).map(bytes.hex), moments, st.sampled_from(list(Funnel)))
def test_a_click_that_is_sent_on_reads_back_as_it_was(
    customer: str, message: str, time_ms: int, funnel: Funnel
) -> None:
    click = Click(customer, message, time_ms, funnel)
    assert decode_event(click_message(click)) == click
    assert decode_with_visitor(click_message(click)) == click, "or it would be told of again, for ever"


@settings(derandomize=True, deadline=None)
@given(ids, ids, moments)
def test_a_link_names_both_and_is_nobodys_to_a_program_that_does_not_know_it(
    visitor: str, customer: str, time_ms: int
) -> None:
    login = Identified(customer, "m", time_ms, visitor, Click(customer, "m", time_ms))
    link = decode_with_visitor(link_message(login))
    assert isinstance(link, Link)
    assert (link.anonymous_id, link.linked_to, link.time_ms) == (visitor, customer, time_ms)
    assert type(decode_event(link_message(login))) is Anonymous
    assert link_message(login) == link_message(login), "sent twice it has one id"


def link_to(**properties: object) -> bytes:
    head = {"type": "track", "event": IDENTIFIED, "messageId": "m", "timestamp": utc(T0)}
    return msgspec.json.encode(head | {"anonymousId": "a-7", "properties": properties})


def test_a_link_to_nobody_links_nobody() -> None:
    assert type(decode_with_visitor(link_to())) is Anonymous
    assert type(decode_with_visitor(link_to(customer_id=7))) is Anonymous
    with pytest.raises(WireError, match="bad_id"):
        decode_with_visitor(link_to(customer_id="null"))


def test_other_formats_keep_the_visitor_too() -> None:
    sources = SourceConfig(clickstream="snowplow")
    value = msgspec.json.encode(
        {"event": "page_view", "event_id": "e", "collector_tstamp": utc(T0), "domain_userid": "a-7"}
    )
    assert decoder_for(CLICKSTREAM, sources, True)(value) == Visit("", "e", T0, "a-7", Funnel.PAGE)
    assert type(decoder_for(CLICKSTREAM, sources)(value)) is Anonymous
