"""How long repeat buyers stay silent before they order again.

Each order but the last of a customer ends a gap; the silence since the last one is a gap that is not over. To
leave those out would say that everybody comes back soon, because long gaps are the ones that are not over
(right-censoring). The Kaplan-Meier estimate uses them for as long as they were seen. Not everybody comes
back, so the curve levels off below 1; a share is taken of those who do come back, by where it levels off.

References
----------
Kaplan & Meier, Nonparametric estimation from incomplete observations, JASA 53 (1958).
Maller & Zhou, Survival Analysis with Long-Term Survivors (1996), for the level as the share who return.
"""

from __future__ import annotations

from collections import Counter

from streams.config import DAY_MS


class Gaps:
    """Gaps between orders by whole days: memory is an entry a customer and an entry a day.

    Parameters
    ----------
    min_orders
        A gap counts from this order of a customer on.

    Examples
    --------
    >>> gaps = Gaps(min_orders=1)
    >>> for day in (0, 10, 20):
    ...     gaps.order("a", day * DAY_MS)
    >>> curve = gaps.reordered(until_ms=25 * DAY_MS)
    >>> curve, within(curve, 0.9)
    ([(10, 1.0)], 10)
    """

    def __init__(self, min_orders: int) -> None:
        self._min_orders = min_orders
        self._last: dict[str, tuple[int, int]] = {}
        self._ended: Counter[int] = Counter()

    def order(self, customer_id: str, time_ms: int) -> None:
        """Take an order, in event-time order; two at one moment are one."""
        orders, last_ms = self._last.get(customer_id, (0, time_ms - 1))
        if time_ms <= last_ms:
            return
        if orders >= self._min_orders:
            self._ended[-(-(time_ms - last_ms) // DAY_MS)] += 1
        self._last[customer_id] = (orders + 1, time_ms)

    @property
    def ended(self) -> int:
        """Gaps that an order has ended."""
        return self._ended.total()

    def open(self, until_ms: int) -> Counter[int]:
        """Count the gaps that are not over, by the whole days for which they were seen."""
        return Counter(
            max(0, until_ms - last_ms) // DAY_MS
            for orders, last_ms in self._last.values()
            if orders >= self._min_orders
        )

    def reordered(self, until_ms: int) -> list[tuple[int, float]]:
        """Estimate the share that has ordered again within so many days, at each day where it rises."""
        censored = self.open(until_ms)
        at_risk = self.ended + censored.total()
        silent, curve = 1.0, []
        for day in sorted(self._ended | censored):
            if self._ended[day]:
                silent *= 1.0 - self._ended[day] / at_risk
                curve.append((day, 1.0 - silent))
            at_risk -= self._ended[day] + censored[day]
        return curve


def within(curve: list[tuple[int, float]], share: float) -> int | None:
    """Give the days within which a share of those who come back have; None where nobody did.

    Examples
    --------
    >>> within([(5, 0.2), (9, 0.4), (30, 0.5)], 0.8)
    9
    """
    return next((day for day, reached in curve if reached >= share * curve[-1][1] - 1e-12), None)
