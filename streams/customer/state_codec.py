"""A state to bytes and back.

A worker writes ten thousand states a second and more, so this is made for a compiler: no object is made of a
number on its way. A state is a head, its numbers and its lists. The head has a mark, the version, a mask and
what fits into a few bits. The numbers take eight bytes each, in the order of their bits in the mask; one that
is zero has no bit there and takes nothing. A list but the first, of offsets, has a bit too, and takes nothing
where it is empty. What follows from other fields does not travel: when and what the last order was stand
among the newest orders, what is due next is mostly the next review, and the published risk mostly that of
the review.

A number is only ever appended, with the next bit, and a list after the last, with one of the bits that are
left for it: a program that does not know it passes it over, and reads it as zero where it is missing.
Anything else raises `STATE_VERSION`. States of the versions before are read too
(`streams.customer.state_wire_old`).
"""

from __future__ import annotations

from typing import Final

import msgspec
from librt.strings import (
    BytesWriter,
    read_f64_le,
    read_i32_le,
    read_i64_le,
    write_f64_le,
    write_i32_le,
    write_i64_le,
)
from librt.vecs import append, vec
from mypy_extensions import i32, i64, u8

from streams.customer.state import NO_TIME, STATE_VERSION, CustomerState, new_state
from streams.customer.state_wire import Question, RecentOrder, Traits
from streams.customer.state_wire_old import decode_old, is_old

_MARK: Final = 0xC1
"""No msgpack begins with it: so states of the versions before are told apart."""

_MASK: Final[i64] = 2
_BITS: Final[i64] = 10
_NUMBERS: Final[i64] = 14
"""Where they begin: the mask, what takes a few bits, the numbers."""

_LATER_NUMBERS: Final = range(31, 48)
_LATER_LISTS: Final[i64] = 0x7F << 48
"""Bits of what a later program may know."""

_RECENT: Final[i64] = 1 << 62
_REFUNDS: Final[i64] = 1 << 61
_CANCELLED: Final[i64] = 1 << 60
_IDS_NOW: Final[i64] = 1 << 59
_IDS_BEFORE: Final[i64] = 1 << 58
_QUESTIONS: Final[i64] = 1 << 57
_VALUES: Final[i64] = 1 << 56
_TRAITS: Final[i64] = 1 << 55
"""Lists have their bits from the other end."""
_OWN: Final = 0
_REVIEW: Final = 1
_BORDER: Final = 2
_CROSSING: Final = 3
_DRAWN_BORDER: Final = 4
"""Of what the moment is at which something is due."""

_MANY_PIECES: Final = 127

_traits_encoder = msgspec.msgpack.Encoder()
_traits_decoder = msgspec.msgpack.Decoder(Traits)


def _whole(writer: BytesWriter, value: i64, bit: i64) -> i64:
    if value == 0:
        return 0
    write_i64_le(writer, value)
    return bit


def _real(writer: BytesWriter, value: float, bit: i64) -> i64:
    if value == 0.0:
        return 0
    write_f64_le(writer, value)
    return bit


def _bytes(writer: BytesWriter, value: bytes, bit: i64) -> i64:
    if len(value) == 0:
        return 0
    write_i32_le(writer, len(value))
    writer.write(value)
    return bit


def _ids(writer: BytesWriter, ids: vec[i64], bit: i64) -> i64:
    if len(ids) == 0:
        return 0
    writer.append(u8(len(ids)))
    for hashed in ids:
        write_i64_le(writer, hashed)
    return bit


def _signed(key: int) -> i64:
    """Give 64 bits as a number with a sign."""
    return key - (1 << 64) if key >= 1 << 63 else key


def _unsigned(key: i64) -> int:
    return int(key) + (1 << 64) if key < 0 else int(key)


def encode_state(state: CustomerState) -> bytes:
    """Write a state for the changelog."""
    writer = BytesWriter()
    writer.append(_MARK)
    writer.append(state.version)
    write_i64_le(writer, 0)
    due_of = _due_of(state)
    write_i32_le(writer, _bits(state, due_of))
    mask = _write_numbers(writer, state, due_of) | _write_lists(writer, state)
    for place in range(8):
        writer[_MASK + place] = u8(mask >> (8 * place) & 0xFF)
    return writer.getvalue()


def _due_of(state: CustomerState) -> i32:
    verdict = state.verdict
    due_ms = verdict.due_ms
    if due_ms == state.review_ms:
        return _REVIEW
    if due_ms == state.border_ms:
        return _BORDER
    if due_ms == verdict.crossing_ms:
        return _CROSSING
    if due_ms == verdict.border_ms:
        return _DRAWN_BORDER
    return _OWN


def _bits(state: CustomerState, due_of: i32) -> i32:
    """Give what takes a few bits: see `_read_bits`."""
    verdict = state.verdict
    rfm: i32 = state.rfm
    lifecycle: i32 = state.lifecycle
    categories: i32 = state.categories
    episode: i32 = verdict.episode
    bits: i32 = (rfm + 1) | (lifecycle + 1) << 4 | categories << 8 | episode << 14 | due_of << 16
    if state.won_back:
        bits |= 1 << 20
    if verdict.published == verdict.risk:
        bits |= 1 << 21
    return bits


def _write_numbers(writer: BytesWriter, state: CustomerState, due_of: i32) -> i64:
    verdict = state.verdict
    first_ms: i64 = state.first_ms
    mask = _whole(writer, first_ms, 1)
    mask |= _whole(writer, state.clock_ms, 1 << 1)
    mask |= _whole(writer, state.landmark_ms - first_ms, 1 << 2)
    mask |= _whole(writer, state.click_ms, 1 << 3)
    mask |= _whole(writer, state.session_ms, 1 << 4)
    mask |= _real(writer, state.views, 1 << 5)
    mask |= _real(writer, state.sessions, 1 << 6)
    mask |= _real(writer, state.sessions_short, 1 << 7)
    mask |= _real(writer, state.carts, 1 << 8)
    mask |= _whole(writer, state.cart_ms, 1 << 9)
    mask |= _whole(writer, state.ids_ms, 1 << 10)
    if state.orders:
        mask |= _whole(writer, state.orders, 1 << 11)
        mask |= _whole(writer, state.first_order_ms - first_ms, 1 << 12)
    if not state.recent_orders:
        mask |= _whole(writer, state.order_ms, 1 << 13)
        mask |= _real(writer, state.order_amount, 1 << 14)
    mask |= _real(writer, state.revenue, 1 << 15)
    mask |= _real(writer, state.refunded, 1 << 16)
    mask |= _real(writer, state.discounted, 1 << 17)
    mask |= _real(writer, state.orders_short, 1 << 18)
    mask |= _real(writer, state.orders_long, 1 << 19)
    mask |= _whole(writer, state.items, 1 << 20)
    mask |= _whole(writer, state.category_cells, 1 << 21)
    mask |= _whole(writer, state.gap_ms, 1 << 22)
    mask |= _whole(writer, state.review_ms, 1 << 23)
    mask |= _whole(writer, state.border_ms, 1 << 24)
    mask |= _real(writer, verdict.risk, 1 << 25)
    if verdict.published != verdict.risk:
        mask |= _real(writer, verdict.published, 1 << 26)
    mask |= _whole(writer, verdict.crossing_ms, 1 << 27)
    mask |= _whole(writer, verdict.episode_ms, 1 << 28)
    mask |= _whole(writer, verdict.border_ms, 1 << 29)
    if due_of == _OWN:
        mask |= _whole(writer, verdict.due_ms, 1 << 30)
    return mask


def _write_lists(writer: BytesWriter, state: CustomerState) -> i64:
    writer.append(len(state.applied))
    for offset in state.applied:
        write_i64_le(writer, offset)
    mask: i64 = 0
    if state.recent_orders:
        mask |= _RECENT
        writer.append(len(state.recent_orders))
        for order in state.recent_orders:
            _write_order(writer, order)
    if state.refunds:
        mask |= _REFUNDS
        writer.append(len(state.refunds))
        for key, amount in state.refunds:
            write_i64_le(writer, _signed(key))
            write_f64_le(writer, amount)
    if state.cancelled:
        mask |= _CANCELLED
        writer.append(len(state.cancelled))
        for key in state.cancelled:
            write_i64_le(writer, _signed(key))
    mask |= _ids(writer, state.ids_now, _IDS_NOW)
    mask |= _ids(writer, state.ids_before, _IDS_BEFORE)
    if state.questions:
        mask |= _QUESTIONS
        writer.append(len(state.questions))
        for question in state.questions:
            _write_question(writer, question)
    mask |= _bytes(writer, state.verdict.values, _VALUES)
    if state.traits is not None:
        mask |= _bytes(writer, _traits_encoder.encode(state.traits), _TRAITS)
    return mask


def _write_order(writer: BytesWriter, order: RecentOrder) -> None:
    """Write an order: most have no discount and a handful of pieces."""
    key, time_ms, amount, discount, pieces, cells = order
    few = pieces if pieces < _MANY_PIECES else _MANY_PIECES
    writer.append(few << 1 | (discount != 0.0))
    write_i64_le(writer, _signed(key))
    write_i64_le(writer, time_ms)
    write_f64_le(writer, amount)
    if discount != 0.0:
        write_f64_le(writer, discount)
    if few == _MANY_PIECES:
        write_i64_le(writer, pieces)
    write_i32_le(writer, cells - (1 << 32) if cells >= 1 << 31 else cells)


def _write_question(writer: BytesWriter, question: Question) -> None:
    writer.append(question.by_order | question.ordered << 1)
    write_i64_le(writer, question.asked_ms)
    write_f64_le(writer, question.risk)
    features, version = question.features, question.model_version.encode()
    write_i32_le(writer, len(features))
    writer.write(features)
    write_i32_le(writer, len(version))
    writer.write(version)


class _Reader:
    """Reads from a place on, and refuses to read on behind the end."""

    __slots__ = ("_at", "_data", "_mask")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._mask = read_i64_le(data, _MASK)
        self._at = _NUMBERS

    def has(self, bit: i64) -> bool:
        return self._mask & bit != 0

    def long(self) -> i64:
        at = self._at
        self._at = at + 8
        return read_i64_le(self._data, at)

    def number(self) -> float:
        at = self._at
        self._at = at + 8
        return read_f64_le(self._data, at)

    def cells(self) -> int:
        at = self._at
        self._at = at + 4
        cells = int(read_i32_le(self._data, at))
        return cells + (1 << 32) if cells < 0 else cells

    def byte(self) -> int:
        at = self._at
        self._at = at + 1
        return self._data[at]

    def text(self, length: int) -> bytes:
        at = int(self._at)
        if length < 0 or at + length > len(self._data):  # before the slice: compiled, it takes no such length
            raise IndexError("it ends before it should")
        self._at = at + length
        return self._data[at : at + length]

    def whole(self, bit: i64) -> int:
        return int(self.long()) if self.has(bit) else 0

    def real(self, bit: i64) -> float:
        return self.number() if self.has(bit) else 0.0

    def bytes_of(self, bit: i64) -> bytes:
        return self.text(self.length()) if self.has(bit) else b""

    def ids(self, bit: i64) -> vec[i64]:
        found = vec[i64]()
        if self.has(bit):
            for _ in range(self.byte()):
                found = append(found, self.long())
        return found

    def length(self) -> int:
        at = self._at
        self._at = at + 4
        return int(read_i32_le(self._data, at))

    def end(self) -> None:
        if self._at != len(self._data) and not self.has(_LATER_LISTS):
            raise IndexError("it goes on behind its end")

    def skip_unknown(self) -> None:
        for place in _LATER_NUMBERS:
            if self.has(1 << place):
                self._at += 8


def decode_state(value: bytes) -> CustomerState:
    """Read a state back.

    Raises
    ------
    ValueError
        When the bytes are no state, or one of a version that this program does not know.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> state = new_state(1_000, inputs=2)
    >>> decode_state(encode_state(state)) == state
    True
    """
    if len(value) > 1 and value[0] == _MARK and value[1] != STATE_VERSION:
        raise ValueError(f"customer state of version {value[1]}, this program knows {STATE_VERSION}")
    try:
        if is_old(value):
            return decode_old(value)
        if value[0] != _MARK:
            raise ValueError("of another kind")
        return _read(value)
    except (IndexError, ValueError, msgspec.DecodeError) as error:
        raise ValueError(f"not a customer state: {error}") from error


def _read(value: bytes) -> CustomerState:
    bits = read_i32_le(value, _BITS)
    reader = _Reader(value)
    state = new_state(0, 0)
    _read_numbers(reader, state)
    reader.skip_unknown()
    state.applied = vec[i64]([reader.long() for _ in range(reader.byte())])
    _read_lists(reader, state)
    reader.end()
    _read_bits(state, bits)
    if state.recent_orders:
        _, state.order_ms, state.order_amount, _, _, _ = state.recent_orders[-1]
    return state


def _read_numbers(reader: _Reader, state: CustomerState) -> None:
    verdict = state.verdict
    state.first_ms = reader.whole(1)
    state.clock_ms = reader.whole(1 << 1)
    state.landmark_ms = state.first_ms + reader.whole(1 << 2)
    state.click_ms = reader.whole(1 << 3)
    state.session_ms = reader.whole(1 << 4)
    state.views = reader.real(1 << 5)
    state.sessions = reader.real(1 << 6)
    state.sessions_short = reader.real(1 << 7)
    state.carts = reader.real(1 << 8)
    state.cart_ms = reader.whole(1 << 9)
    state.ids_ms = reader.whole(1 << 10)
    state.orders = reader.whole(1 << 11)
    first_order_ms = reader.whole(1 << 12)
    state.first_order_ms = state.first_ms + first_order_ms if state.orders else NO_TIME
    state.order_ms = reader.whole(1 << 13)
    state.order_amount = reader.real(1 << 14)
    state.revenue = reader.real(1 << 15)
    state.refunded = reader.real(1 << 16)
    state.discounted = reader.real(1 << 17)
    state.orders_short = reader.real(1 << 18)
    state.orders_long = reader.real(1 << 19)
    state.items = reader.whole(1 << 20)
    state.category_cells = reader.whole(1 << 21)
    state.gap_ms = reader.whole(1 << 22)
    state.review_ms = reader.whole(1 << 23)
    state.border_ms = reader.whole(1 << 24)
    verdict.risk = reader.real(1 << 25)
    verdict.published = reader.real(1 << 26)
    verdict.crossing_ms = reader.whole(1 << 27)
    verdict.episode_ms = reader.whole(1 << 28)
    verdict.border_ms = reader.whole(1 << 29)
    verdict.due_ms = reader.whole(1 << 30)


def _read_bits(state: CustomerState, bits: i32) -> None:
    """Read what takes a few bits.

    They are the RFM segment and the lifecycle stage (four bits each, 0 for none), the number of categories
    (six), the episode (two) and of what the moment is at which something is due (three). Bits 20 and 21 tell
    whether the customer was won back, and whether the published risk is that of the review.
    """
    verdict = state.verdict
    state.rfm = int(bits & 0xF) - 1
    state.lifecycle = int(bits >> 4 & 0xF) - 1
    state.categories = int(bits >> 8 & 0x3F)
    verdict.episode = int(bits >> 14 & 0x3)
    state.won_back = bits & (1 << 20) != 0
    if bits & (1 << 21) != 0:
        verdict.published = verdict.risk
    due_of = bits >> 16 & 0x7
    if due_of == _REVIEW:
        verdict.due_ms = state.review_ms
    elif due_of == _BORDER:
        verdict.due_ms = state.border_ms
    elif due_of == _CROSSING:
        verdict.due_ms = verdict.crossing_ms
    elif due_of == _DRAWN_BORDER:
        verdict.due_ms = verdict.border_ms


def _read_lists(reader: _Reader, state: CustomerState) -> None:
    if reader.has(_RECENT):
        state.recent_orders = [_read_order(reader) for _ in range(reader.byte())]
    if reader.has(_REFUNDS):
        state.refunds = [(_unsigned(reader.long()), reader.number()) for _ in range(reader.byte())]
    if reader.has(_CANCELLED):
        state.cancelled = [_unsigned(reader.long()) for _ in range(reader.byte())]
    state.ids_now = reader.ids(_IDS_NOW)
    state.ids_before = reader.ids(_IDS_BEFORE)
    if reader.has(_QUESTIONS):
        state.questions = [_read_question(reader) for _ in range(reader.byte())]
    state.verdict.keep(reader.bytes_of(_VALUES))
    if reader.has(_TRAITS):
        state.traits = _traits_decoder.decode(reader.bytes_of(_TRAITS))


def _read_order(reader: _Reader) -> RecentOrder:
    flags = reader.byte()
    key, time_ms, amount = _unsigned(reader.long()), int(reader.long()), reader.number()
    discount = reader.number() if flags & 1 else 0.0
    pieces = flags >> 1
    if pieces == _MANY_PIECES:
        pieces = int(reader.long())
    return key, time_ms, amount, discount, pieces, reader.cells()


def _read_question(reader: _Reader) -> Question:
    flags = reader.byte()
    asked_ms, risk = int(reader.long()), reader.number()
    features = reader.text(reader.length())
    version = reader.text(reader.length()).decode()
    return Question(asked_ms, flags & 1 != 0, flags & 2 != 0, features, risk, version)
