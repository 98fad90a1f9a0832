"""What silence alone does to a customer's risk.

While a customer stays silent, time moves some features and leaves the others as they are. So the log-odds
as of any later moment need the moving ones only; the others are those of the look that began the search.
The sum is taken in the order of the features all the same, so it equals, to the last bit, what the model
says of the whole vector: a moment found here is one at which a look finds the same risk.
"""

from __future__ import annotations

from math import cos, log, pow, sin

from librt.vecs import vec

from streams.config import DAY_MS
from streams.customer.crossing import Excess
from streams.customer.features import GAP_PRIOR_DAYS, TURN, YEAR_MS, cart_left, single, trend
from streams.customer.state import (
    ORDERS_LONG_HALF_LIFE_MS,
    SESSIONS_HALF_LIFE_MS,
    VIEWS_HALF_LIFE_MS,
    CustomerState,
)
from streams.learning.served import Served, days_of, log_odds_at, repeats_of


class Silence(Excess):
    """A customer from whom nothing more comes, seen through one model.

    Parameters
    ----------
    state
        The customer, with at least one order. It must not change while this is in use.
    model
        What is served.
    values
        Features of the customer as of any moment since the last record, in the order of `FEATURES`.
    threshold
        Log-odds that an excess is measured from.

    Examples
    --------
    >>> from streams.config import StreamConfig
    >>> from streams.customer.features import features
    >>> from streams.customer.state import new_state
    >>> from streams.learning.served import untrained
    >>> state = new_state(0, inputs=2)
    >>> state.orders, state.revenue, state.order_amount = 1, 20.0, 20.0
    >>> model = Served(untrained(StreamConfig()))
    >>> Silence(state, model, features(state, DAY_MS), threshold=1.0).excess_at(7 * DAY_MS)
    -1.0
    """

    __slots__ = (
        "_centre", "_coefficient", "_has_season", "_intercept", "_known_recency_days", "_mean_gap_days",
        "_model", "_recency_days", "_repeats", "_state", "_threshold", "_values",
    )  # fmt: skip

    def __init__(self, state: CustomerState, model: Served, values: vec[float], threshold: float) -> None:
        super().__init__()
        self._state = state
        self._model = model
        self._values = values
        self._centre = model.centre
        self._coefficient = model.coefficient
        self._intercept = model.intercept
        self._recency_days = (state.order_ms - state.first_order_ms) / DAY_MS
        self._mean_gap_days = (self._recency_days + GAP_PRIOR_DAYS) / state.orders
        self._has_season = model.coefficient[20] != 0.0 or model.coefficient[21] != 0.0
        self._threshold = threshold
        # What BG/NBD is asked with, beside the tenure: as the features have it.
        self._repeats = self._known_recency_days = 0.0
        if model.no_order is not None:
            self._repeats, self._known_recency_days = repeats_of(values[4]), days_of(values[2])

    def excess_at(self, as_of_ms: int) -> float:
        """Compute how far the log-odds are above the threshold as of a moment."""
        return self.log_odds(as_of_ms) - self._threshold

    def log_odds(self, as_of_ms: int) -> float:
        """Compute the log-odds as of a moment, not before the look that the search began with."""
        state = self._state
        silence_days = (as_of_ms - state.order_ms) / DAY_MS
        back_ms = float(state.landmark_ms - as_of_ms)
        fade_views = pow(2.0, back_ms / VIEWS_HALF_LIFE_MS)
        fade_month = pow(2.0, back_ms / SESSIONS_HALF_LIFE_MS)  # and of the orders lately
        sessions = state.sessions * fade_month
        total = self._intercept
        log_tenure = single(log(1.0 + (self._recency_days + silence_days)))
        total += self._coefficient[0] * (log_tenure - self._centre[0])
        total += self._term(1, silence_days)
        total += self._rest(2)
        total += self._term(3, silence_days / self._mean_gap_days)
        total += self._rest(4)
        total += self._term(5, state.orders_short * fade_month)
        total += self._term(6, state.orders_long * pow(2.0, back_ms / ORDERS_LONG_HALF_LIFE_MS))
        for place in range(7, 13):
            total += self._rest(place)
        total += self._term(13, state.views * fade_views)
        total += self._term(14, sessions)
        total += self._term(15, state.carts * fade_views)
        total += self._rest(16)
        total += self._rest(17)
        total += self._rest(18)
        total += self._term(19, trend(state.sessions_short * fade_views, sessions))
        if self._has_season:
            angle = TURN * (as_of_ms / YEAR_MS)
            total += self._coefficient[20] * (single(sin(angle)) - self._centre[20])
            total += self._coefficient[21] * (single(cos(angle)) - self._centre[21])
        total += self._rest(22)
        total += self._term(23, cart_left(state, as_of_ms))
        model = self._model
        if model.no_order is None:
            return total
        known = log_odds_at(model.no_order, self._repeats, self._known_recency_days, log_tenure)
        return total + model.btyd_coefficient * (known - model.btyd_centre)

    def _rest(self, place: int) -> float:
        return self._coefficient[place] * (self._values[place] - self._centre[place])

    def _term(self, place: int, amount: float) -> float:
        return self._coefficient[place] * (single(log(1.0 + amount)) - self._centre[place])
