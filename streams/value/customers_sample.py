"""A bounded sample of customers and their histories, drawn from the examples as they come.

The likelihoods of `streams.value` need no more of a shop than a few thousand customers. Which ones is
decided by a seeded hash of the customer id: the `size` smallest hashes stay (bottom-k sampling). Every
customer has the same chance, one who is out never comes back in, and the sample is the same in whatever
order the examples came and however often. Of each customer the newest question counts, since it tells of
all orders before.

An answer comes a horizon after its question, so at event time t the sample knows everything up to t -
horizon, and that is where histories end: an order after the last question would have been a question
itself. Where only a share of the reviews are questions that does not hold, and a history ends with its last
question.

References
----------
Cohen, E. and Kaplan, H. (2007), Summarizing data using bottom-k sketches, PODC.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import heappop, heappush
from math import expm1
from struct import Struct
from typing import NamedTuple

from schemas.codec import epoch_ms
from schemas.learning import Example
from streams.value.gammagamma import Spending, spending_of
from streams.value.triples import Triples, triples_of

_DAY_SECONDS = 86_400.0
_MOST_ORDERS = 2**32 - 1
_PACKED = Struct("<QIIIIf")
_NEEDED = ("log_tenure", "log_recency", "log_orders", "log_order_value")


class History(NamedTuple):
    """What the newest question told of a customer; newer ones compare as larger.

    Attributes
    ----------
    asked_s
        When it was asked; seconds, like all here: features are 32-bit floats and know no more.
    repeats
        Orders after the first.
    first_s
        When the first order was.
    recency_s
        From the first order to the last.
    order_value
        Mean revenue of an order.
    """

    asked_s: int
    repeats: int
    first_s: int
    recency_s: int
    order_value: float


class CustomersSample:
    """Holds at most `size` customers.

    Parameters
    ----------
    size
        Customers to keep; each costs about 250 bytes of memory and 28 of a checkpoint.
    seed
        Of the hash that picks them.

    Examples
    --------
    >>> sample = CustomersSample(size=2, seed=1)
    >>> for customer in ("c1", "c2", "c3", "c4"):
    ...     sample.put(customer, History(1_000_000, 1, 0, 86_400, 20.0))
    >>> len(sample), len(CustomersSample.restore(2, 1, sample.state()))
    (2, 2)
    """

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError("a sample holds at least one customer")
        self._size = size
        self._salt = seed.to_bytes(8, "big", signed=True)
        self._histories: dict[int, History] = {}
        self._worst_first: list[int] = []  # negated hashes: the largest hash is the first of the heap

    def __len__(self) -> int:
        return len(self._histories)

    def add(self, example: Example) -> None:
        """Take what an example tells; one without the features that tell it is let go by."""
        key = self._key(example.customer_id)
        if self._is_out(key):  # most customers of a large shop: decided first
            return
        features = example.features
        if any(name not in features for name in _NEEDED):
            return
        asked_s = epoch_ms(example.asked_at) // 1000
        tenure_s = round(expm1(features["log_tenure"]) * _DAY_SECONDS)
        recency_s = round(expm1(features["log_recency"]) * _DAY_SECONDS)
        orders = round(expm1(features["log_orders"]))
        if orders < 1 or not 0 <= tenure_s <= asked_s:
            return
        repeats = min(orders - 1, _MOST_ORDERS)
        # A 32-bit float more or less: no recency without a repeat order, and none longer than the tenure.
        recency_s = max(0, min(recency_s, tenure_s)) if repeats else 0
        value = expm1(features["log_order_value"])
        self._put(key, History(asked_s, repeats, asked_s - tenure_s, recency_s, value))

    def put(self, customer_id: str, history: History) -> None:
        """Take the history of a customer of the sample, unless a newer one is known."""
        key = self._key(customer_id)
        if not self._is_out(key):
            self._put(key, history)

    def _is_out(self, key: int) -> bool:
        return len(self._histories) >= self._size and key > -self._worst_first[0]

    def _put(self, key: int, history: History) -> None:
        known = self._histories.get(key)
        if known is not None:
            if history > known:
                self._histories[key] = history
            return
        if len(self._histories) >= self._size:
            del self._histories[-heappop(self._worst_first)]
        self._histories[key] = history
        heappush(self._worst_first, -key)

    def forget(self, customer_id: str) -> None:
        """Erase a customer."""
        key = self._key(customer_id)
        if self._histories.pop(key, None) is not None:
            self._worst_first.remove(-key)
            self._worst_first.sort()

    def triples(self, until_ms: int | None) -> Triples | None:
        """Count the histories; None when there is none.

        Parameters
        ----------
        until_ms
            Up to when everything is known: who began later is left out. None where only a share of the
            reviews are questions: each history ends with its last one.

        Examples
        --------
        >>> sample = CustomersSample(size=9, seed=1)
        >>> sample.put("c1", History(86_400 * 5, repeats=1, first_s=0, recency_s=86_400, order_value=9.0))
        >>> triples = sample.triples(until_ms=86_400_000 * 30)
        >>> triples.x.tolist(), triples.t_x.tolist(), triples.T.tolist()
        ([1.0], [1.0], [30.0])
        """
        until_s = None if until_ms is None else until_ms // 1000
        customers = []
        for history in self._histories.values():
            end_s = history.asked_s if until_s is None else until_s
            T_s = end_s - history.first_s
            if T_s >= history.recency_s:
                days = history.recency_s / _DAY_SECONDS, T_s / _DAY_SECONDS
                customers.append((float(history.repeats), *days))
        return triples_of(customers) if customers else None

    def last_orders(self, since_s: int, until_s: int) -> list[tuple[int, int]]:
        """Give the time of the last order and the number of orders of those who ordered last in a span.

        Examples
        --------
        >>> sample = CustomersSample(size=9, seed=1)
        >>> sample.put("c1", History(86_400 * 5, repeats=1, first_s=0, recency_s=86_400, order_value=9.0))
        >>> sample.last_orders(0, 86_400 * 5), sample.last_orders(90_000, 86_400 * 5)
        ([(86400, 2)], [])
        """
        return [
            (history.first_s + history.recency_s, history.repeats + 1)
            for history in self._histories.values()
            if since_s <= history.first_s + history.recency_s <= until_s
        ]

    def spending(self) -> Spending | None:
        """Count what orders are worth; None when none has a value."""
        customers = [
            (history.repeats + 1.0, history.order_value)
            for history in self._histories.values()
            if history.order_value > 0.0
        ]
        return spending_of(customers) if customers else None

    def state(self) -> bytes:
        """Take everything out; the same customers give the same bytes."""
        return b"".join(
            _PACKED.pack(key, *self._histories[key][:4], self._histories[key].order_value)
            for key in sorted(self._histories)
        )

    @classmethod
    def restore(cls, size: int, seed: int, state: bytes) -> CustomersSample:
        """Go on from a state; where it holds more than `size` customers, with the smallest hashes."""
        sample = cls(size, seed)
        for key, asked_s, repeats, first_s, recency_s, order_value in _PACKED.iter_unpack(state):
            if len(sample._histories) < size:
                sample._histories[key] = History(asked_s, repeats, first_s, recency_s, order_value)
                sample._worst_first.append(-key)
        sample._worst_first.sort()  # a sorted list is a heap
        return sample

    def _key(self, customer_id: str) -> int:
        return int.from_bytes(blake2b(customer_id.encode(), digest_size=8, salt=self._salt).digest(), "big")
