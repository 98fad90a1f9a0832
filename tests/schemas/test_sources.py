"""Messages of other collectors become our events, or are refused for the reason that their example names."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import MAX_MESSAGE_BYTES, WireError, decode_event, epoch_ms, utc
from schemas.events import Anonymous, Cancellation, Click, Event, Funnel, Order, OrderUpdate, Passive, Refund
from schemas.sources import debezium, envelope, ga4, snowplow
from schemas.sources.config import ClickFormat, OrderFormat, SourceConfig
from schemas.sources.registry import FORMATS, decoder_for, input_of, reader, reads_headers
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "sources" / "examples"
FOREIGN = tuple(name for name in FORMATS if name != "segment")
BINARY = "cloudevents-binary"
READERS = {name: reader(name, SourceConfig()) for name in FORMATS}


def stored(kind: str) -> list[Any]:
    return [
        pytest.param(path, id=f"{path.parent.parent.name}/{path.stem}")
        for path in sorted(EXAMPLES.glob(f"*/{kind}/*.json"))
    ]


def read(path: Path) -> Event:
    """Read an example as the worker does; that of binary mode holds headers and value apart."""
    name = path.parent.parent.name
    if name == BINARY:
        record = orjson.loads(path.read_bytes())
        headers = [(key, value.encode()) for key, value in record["headers"].items()]
        return READERS["cloudevents"](orjson.dumps(record["value"]), headers=headers)
    return READERS[name](path.read_bytes())  # type: ignore[index]


def example(name: str) -> bytes:
    return next(EXAMPLES.glob(name)).read_bytes()


@pytest.mark.parametrize("path", stored("valid"))
def test_a_valid_message_becomes_the_event_of_its_name(path: Path) -> None:
    event = read(path)
    assert type(event).__name__.lower() == path.stem.split("--")[0]
    assert event.customer_id == ("" if type(event) is Anonymous else event.customer_id or None)


@pytest.mark.parametrize("path", stored("invalid"))
def test_an_invalid_message_is_refused_for_the_reason_of_its_name(path: Path) -> None:
    with pytest.raises(WireError) as refused:
        read(path)
    assert refused.value.reason == path.stem.split("--")[0]
    assert "1042" not in refused.value.detail  # no customer's value


@pytest.mark.parametrize("name", FOREIGN)
def test_every_format_has_examples_of_both_kinds(name: str) -> None:
    assert len(list((EXAMPLES / name / "valid").iterdir())) >= 10
    assert len(list((EXAMPLES / name / "invalid").iterdir())) >= 10


def test_there_are_no_examples_of_another_format() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {*FOREIGN, BINARY}
    assert set(get_args(ClickFormat)) | set(get_args(OrderFormat)) == set(FORMATS)


# One order in every format

TOLD = [
    ("cloudevents/valid/order--completed.json", 59.9, 0.0),
    (BINARY + "/valid/order--completed.json", 59.9, 0.0),
    ("snowplow/valid/order--transaction.json", 59.9, 5.0),
    ("snowplow/valid/order--original_plugin.json", 59.9, 0.0),
    ("ga4/valid/order--purchase.json", 59.9, 0.0),
    ("ga4/valid/order--purchase_with_the_value_as_a_parameter.json", 59.9, 0.0),
    ("debezium/valid/order--created.json", 59.9, 0.0),
    ("debezium/valid/order--of_mysql.json", 59.9, 0.0),
]


@pytest.mark.parametrize(("name", "amount", "discount"), TOLD)
def test_the_same_order_says_the_same_in_every_format(name: str, amount: float, discount: float) -> None:
    event = read(EXAMPLES / name)
    assert isinstance(event, Order)
    assert event.customer_id.removeprefix("c-") == "1042"
    assert event.order_id.removeprefix("o-") == "55021"
    assert (event.amount, event.discount) == (amount, discount)
    assert abs(event.time_ms - 1_764_324_901_307) <= 2_000


def test_each_format_has_its_own_ids_for_messages_and_the_same_one_for_a_repeat() -> None:
    for path in EXAMPLES.glob("*/valid/*.json"):
        assert read(path) == read(path)
        assert 0 < len(read(path).message_id) <= 100


def test_cloudevents_of_two_sources_may_have_one_id() -> None:
    message = orjson.loads(example("cloudevents/valid/order--completed.json"))
    other = {**message, "source": "/elsewhere"}
    ids = {READERS["cloudevents"](orjson.dumps(m)).message_id for m in (message, other)}
    assert len(ids) == 2


def test_cloudevents_data_that_is_a_segment_message_keeps_its_own_id_and_time() -> None:
    event = READERS["cloudevents"](example("cloudevents/valid/click--segment_message_carried.json"))
    assert event == Click("c-1042", "ajs-93", 1_764_324_899_000, Funnel.CART_ADD)


@pytest.mark.parametrize(
    ("config", "customer"),
    [("subject", "c-1042"), ("partitionkey", "p-1"), ("none", None)],
)
def test_a_setting_says_which_attribute_names_the_customer(config: Any, customer: str | None) -> None:
    message = orjson.loads(example("cloudevents/valid/order--completed.json")) | {"partitionkey": "p-1"}
    decode = decoder_for(ORDERS, SourceConfig(orders="cloudevents", cloudevents_customer=config))
    if customer is None:
        with pytest.raises(WireError, match="missing"):
            decode(orjson.dumps(message))
    else:
        assert decode(orjson.dumps(message)).customer_id == customer


@pytest.mark.parametrize(("action", "name"), [*snowplow.ACTIONS.items()])
def test_an_action_of_snowplow_is_what_segment_calls_it(action: str, name: str) -> None:
    paths = [*EXAMPLES.glob(f"snowplow/valid/*--{action}.json"), *EXAMPLES.glob("snowplow/valid/refund--*")]
    event = READERS["snowplow"](paths[0].read_bytes())
    assert _same_kind(event, name)


@pytest.mark.parametrize(("event_name", "name"), [*ga4.EVENTS.items()])
def test_a_name_of_ga4_is_what_segment_calls_it(event_name: str, name: str) -> None:
    row = orjson.loads(example("ga4/valid/order--purchase.json")) | {"event_name": event_name}
    assert _same_kind(READERS["ga4"](orjson.dumps(row)), name)


def _same_kind(event: Event, name: str) -> bool:
    """Compare with what the Segment decoder makes of the name: the slow oracle."""
    twin = {
        "type": "track",
        "event": name,
        "messageId": event.message_id,
        "userId": event.customer_id,
        "timestamp": utc(event.time_ms).isoformat(),
        "properties": {"order_id": "o", "revenue": 1},
    }
    ours = decode_event(orjson.dumps(twin))
    assert (event.customer_id, event.message_id, event.time_ms) == (
        ours.customer_id,
        ours.message_id,
        ours.time_ms,
    )
    return type(event) is type(ours) and getattr(event, "funnel", None) == getattr(ours, "funnel", None)


def test_a_page_ping_and_what_ga4_collects_by_itself_are_no_acts() -> None:
    assert isinstance(READERS["snowplow"](example("snowplow/valid/passive--page_ping.json")), Passive)
    row = orjson.loads(example("ga4/valid/click--page_view.json"))
    for name in ga4.PASSIVE:
        assert isinstance(READERS["ga4"](orjson.dumps(row | {"event_name": name})), Passive)


def test_rows_of_ga4_that_differ_in_their_place_in_the_batch_are_two_messages() -> None:
    row = orjson.loads(example("ga4/valid/click--page_view.json"))
    rows = [row, row | {"batch_event_index": "3"}, row | {"event_timestamp": "1764324901307001"}]
    assert len({READERS["ga4"](orjson.dumps(r)).message_id for r in rows}) == 3


# A table of orders


def change(
    op: str, after: dict[str, Any] | None, before: dict[str, Any] | None = None, lsn: int = 5, **more: Any
) -> bytes:
    source = {"db": "shop", "table": "orders", "lsn": lsn, "ts_ms": 1_764_411_301_402}
    return orjson.dumps({"op": op, "before": before, "after": after, "source": source, **more})


ROW = {"id": 1, "customer_id": 17, "total": 10, "created_at": 1_764_324_901_307, "status": "paid"}


def test_an_order_has_its_own_time_and_what_follows_the_time_of_the_change() -> None:
    decode = READERS["debezium"]
    assert decode(change("c", ROW)).time_ms == 1_764_324_901_307
    assert decode(change("r", ROW)).time_ms == 1_764_324_901_307
    for later in (change("u", ROW), change("d", None, ROW), change("u", {**ROW, "status": "refunded"})):
        assert decode(later).time_ms == 1_764_411_301_402


def test_a_row_that_waits_is_no_order_until_its_status_says_so() -> None:
    config = SourceConfig(orders="debezium", debezium_placed=("paid", "shipped"))
    decode = decoder_for(ORDERS, config)
    waiting, shipped = {**ROW, "status": "pending"}, {**ROW, "status": "shipped"}
    assert isinstance(decode(change("c", waiting)), Passive)
    assert type(decode(change("u", ROW, waiting))) is Order
    assert type(decode(change("u", shipped, ROW))) is OrderUpdate
    assert type(decode(change("u", ROW))) is Order  # the row before is not sent: taken as an order
    assert isinstance(decode(change("u", {**ROW, "status": "Canceled"}, ROW)), Cancellation)


def test_the_columns_are_those_of_the_settings() -> None:
    config = SourceConfig(
        orders="debezium",
        debezium_order_id="nr",
        debezium_customer_id="kunde",
        debezium_amount="summe",
        debezium_discount="rabatt",
        debezium_refund="erstattet",
        debezium_status="stand",
        debezium_time="",
        debezium_refunded=("erstattet",),
    )
    decode = decoder_for(ORDERS, config)
    row = {
        "nr": "A-1",
        "kunde": "k9",
        "summe": "19.5",
        "rabatt": 2,
        "erstattet": None,
        "stand": "neu",
        "id": 3,
    }
    placed = decode(change("c", row))
    assert placed == Order("k9", placed.message_id, 1_764_411_301_402, "A-1", 19.5, 2.0)
    back = decode(change("u", {**row, "stand": "erstattet", "erstattet": "4.25"}, row))
    assert back == Refund("k9", back.message_id, 1_764_411_301_402, "A-1", 4.25)


def test_a_change_delivered_twice_has_one_id_and_two_changes_have_two() -> None:
    decode = READERS["debezium"]
    once, again, next_one = change("u", ROW), change("u", ROW), change("u", ROW, lsn=6)
    assert decode(once).message_id == decode(again).message_id != decode(next_one).message_id
    # A snapshot is taken at one place in the log: there the rows differ.
    first, second = change("r", ROW), change("r", {**ROW, "id": 2})
    assert decode(first).message_id != decode(second).message_id
    assert decode(first).message_id == decode(change("r", ROW, lsn=9)).message_id


def test_the_tombstone_after_a_deleted_row_says_nothing() -> None:
    assert READERS["debezium"](None) is debezium.TOMBSTONE
    assert isinstance(debezium.TOMBSTONE, Anonymous)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "debezium"])
def test_a_record_without_a_value_is_refused_elsewhere(name: Any) -> None:
    with pytest.raises(WireError, match="missing"):
        READERS[name](None)


# All formats


def test_the_default_is_the_decoder_itself() -> None:
    """Nothing stands between a Segment message and its decoder, so the default costs what it did."""
    assert all(decoder_for(topic, SourceConfig()) is decode_event for topic in INPUTS)
    assert not any(reads_headers(topic, SourceConfig()) for topic in INPUTS)
    assert reads_headers(CLICKSTREAM, SourceConfig(clickstream="cloudevents"))


@pytest.mark.parametrize("name", FORMATS)
def test_the_limit_of_size_comes_before_any_reading(name: Any) -> None:
    with pytest.raises(WireError) as refused:
        READERS[name](b"\xff" * (MAX_MESSAGE_BYTES + 1))
    assert refused.value.reason == "too_large"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"17",
        b'"x"',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_message_is_refused(name: Any, value: bytes) -> None:
    with pytest.raises(WireError):
        READERS[name](value, len(value) + 1)


@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_are_refused_or_read(name: Any) -> None:
    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(st.binary(max_size=60))
    def holds(value: bytes) -> None:
        with suppress(WireError):
            assert isinstance(READERS[name](value), Event)

    holds()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("path", stored("valid"))
def test_a_message_with_anything_in_any_place_is_read_or_refused(path: Path) -> None:
    """Nothing but `WireError` may escape, whatever stands where."""
    name = path.parent.parent.name
    message = orjson.loads(path.read_bytes())
    binary = name == BINARY
    decode = READERS["cloudevents" if binary else name]  # type: ignore[index]
    body = message["value"] if binary else message
    headers = [(k, v.encode()) for k, v in message["headers"].items()] if binary else []
    places = _places(body)

    @settings(derandomize=True, deadline=None, max_examples=20)
    @given(st.sampled_from(places), json_values)
    def holds(place: tuple[Any, ...], value: Any) -> None:
        changed = orjson.loads(orjson.dumps(body))
        inner = changed
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        try:
            event = decode(msgspec.json.encode(changed), headers=headers)
        except WireError:
            return
        assert isinstance(event, Event)

    holds()


def _places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = []
    for key in keys:
        found += [(*before, key), *_places(value[key], (*before, key))]
    return found or [(*before, "x")] if not before else found


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=12) | st.sampled_from(["ce_id", "ce_type", "ce_time"]), st.binary(max_size=9)
        )
    )
)
def test_any_headers_are_read_or_refused(headers: list[tuple[str, bytes]]) -> None:
    always = [("ce_specversion", b"1.0"), ("ce_source", b"/shop"), *headers]
    with suppress(WireError):
        READERS["cloudevents"](b"{}", headers=always)


@settings(derandomize=True, deadline=None)
@given(st.integers(631_152_000_000, 4_102_444_799_999))
def test_a_time_is_the_same_in_every_unit(time_ms: int) -> None:
    expected = utc(time_ms)
    for value in (time_ms, str(time_ms), time_ms * 1000, str(time_ms * 1_000_000), expected.isoformat()):
        found = envelope.moment(value, "t")
        assert found is not None
        assert abs(epoch_ms(found) - time_ms) <= 1
    seconds = envelope.moment(time_ms // 1000, "t")
    assert seconds is not None
    assert epoch_ms(seconds) == time_ms // 1000 * 1000


@pytest.mark.parametrize("value", ["1_000", "inf", "nan", "", " ", "1e400", "0x10", "12,5", 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(WireError, match="wrong_type"):
        envelope.number(value, "total")


@pytest.mark.parametrize(
    "value", ["", "x", -1, 17, "17", 10**400, "9" * 400, "-1767225600", "2026-01-01", "\u0661"]
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(WireError, match="bad_time"):
        envelope.moment(value, "t")


def test_lines_of_a_file_find_their_input_in_any_format() -> None:
    config = SourceConfig(clickstream="snowplow", orders="debezium")
    wrapped = example("debezium/valid/order--with_its_schema.json")
    assert INPUTS[input_of(config)(wrapped)] == ORDERS
    assert INPUTS[input_of(config)(example("debezium/valid/order--created.json"))] == ORDERS
    assert INPUTS[input_of(config)(example("snowplow/valid/order--transaction.json"))] == CLICKSTREAM
    both = SourceConfig(clickstream="cloudevents", orders="cloudevents")
    assert INPUTS[input_of(both)(example("cloudevents/valid/order--completed.json"))] == ORDERS
    assert INPUTS[input_of(both)(example("cloudevents/valid/click--product_viewed.json"))] == CLICKSTREAM


@pytest.mark.parametrize("name", FOREIGN)
def test_where_files_hold_both_inputs_each_message_finds_its_own(name: OrderFormat) -> None:
    """An order belongs to the orders whether or not the rest of it can be read."""
    config = SourceConfig(clickstream="segment" if name == "debezium" else name, orders=name)
    of_line = input_of(config)
    events = {path: read(path) for path in sorted((EXAMPLES / name / "valid").glob("*.json"))}
    for path, event in events.items():
        is_order = name == "debezium" or isinstance(event, Order | Refund | Cancellation)
        assert INPUTS[of_line(path.read_bytes())] == (ORDERS if is_order else CLICKSTREAM), path.name
    broken = {"snowplow": b'{"event": "transaction"}', "ga4": b'{"event_name": "refund", "user_id": 1}'}
    assert INPUTS[of_line(broken.get(name, b'{"op": 1, "specversion": 1, "type": "order.placed"}'))] == ORDERS
    assert {INPUTS[of_line(line)] for line in (b"", b"oops", b"[]", b'{"type": "page"}')} == {CLICKSTREAM}


def test_an_order_in_the_words_of_the_clickstream_stays_where_its_reader_is() -> None:
    line = b'{"type": "track", "event": "Order Completed"}'
    assert INPUTS[input_of(SourceConfig(orders="debezium"))(line)] == CLICKSTREAM
    assert INPUTS[input_of(SourceConfig())(line)] == ORDERS


def test_a_name_written_with_escapes_is_the_name() -> None:
    line = rb'{"type": "track", "event": "\u004frder Completed"}'
    assert INPUTS[input_of(SourceConfig())(line)] == ORDERS
