"""Fits the BTYD models again and again as event time goes by, each time from where they were.

A shop's customers change slowly, so a fit every few weeks of event time is enough, and from the fit before
it is a few steps. When fits happen, and what they see, follows from the examples alone: a fit is due with
the first example of a new interval of event time, counted from the epoch, so a learner that goes on from a
checkpoint fits when and what the uninterrupted one would have. A shop with few customers, or hardly any who
came back, says nothing about four parameters: until there are enough, there is no fit.
"""

from __future__ import annotations

import msgspec

from schemas.btyd import BtydModel, BtydParams, SpendParams
from schemas.codec import epoch_ms
from schemas.learning import Example
from streams.config import days_ms
from streams.value.customers_sample import CustomersSample
from streams.value.fitting import fit
from streams.value.gammagamma import fit_spend

ENOUGH_CUSTOMERS = 200
ENOUGH_REPEATERS = 50


class Fitted(msgspec.Struct, frozen=True):
    """What is known of the shop: a fit of each model, and of the spending."""

    timing: dict[BtydModel, BtydParams]
    spend: SpendParams | None

    def params(self, model: BtydModel) -> BtydParams | None:
        """Parameters of one model, None before its first fit."""
        return self.timing.get(model)


class RefitsState(msgspec.Struct, array_like=True):
    """Everything that `restore` needs, as plain numbers: 28 bytes a customer and a few parameters."""

    sample: bytes
    latest_ms: int
    interval: int
    fitted: Fitted


class Refits:
    """Learns from examples when customers buy, when they leave and what orders are worth.

    Parameters
    ----------
    size
        Customers of the sample that is fitted.
    seed
        Of the hash that picks them.
    every_days
        Event time between two fits.
    horizon_days
        An answer comes so long after its question.
    every_review_asks
        Whether all reviews are questions (`reviews.question_share` is 1): histories then end at a known time.
    models
        Which to fit.

    Examples
    --------
    >>> refits = Refits(size=2000, seed=1, every_days=28.0, horizon_days=30.0, every_review_asks=True)
    >>> refits.fitted.params("bgnbd") is None
    True
    """

    def __init__(
        self,
        size: int,
        seed: int,
        every_days: float,
        horizon_days: float,
        every_review_asks: bool,
        models: tuple[BtydModel, ...] = ("bgnbd", "mbgnbd"),
    ) -> None:
        self._size = size
        self._seed = seed
        self._every_ms = days_ms(every_days)
        self._horizon_ms = days_ms(horizon_days)
        self._every_review_asks = every_review_asks
        self._models = models
        self._latest_ms = 0
        self._interval = -1
        self.sample = CustomersSample(size, seed)
        self.fitted = Fitted({}, None)

    def begins_interval(self, example: Example) -> bool:
        """Tell whether a fit comes before an example is taken: then `learn` takes long."""
        return self._interval_of(epoch_ms(example.matured_at)) > self._interval

    def _interval_of(self, matured_ms: int) -> int:
        """Number intervals from the epoch; one that has been passed does not come again."""
        return matured_ms // self._every_ms if matured_ms > self._latest_ms else -1

    def learn(self, example: Example) -> bool:
        """Take an example; fit first when it begins a new interval, and tell whether that gave new
        parameters.

        The fit sees the examples before this one.
        """
        matured_ms = epoch_ms(example.matured_at)
        fresh = False
        interval = self._interval_of(matured_ms)
        if interval > self._interval:
            fresh = self._fit()
            self._interval = interval
        self._latest_ms = max(self._latest_ms, matured_ms)
        self.sample.add(example)
        return fresh

    def _fit(self) -> bool:
        until_ms = self._latest_ms - self._horizon_ms
        triples = self.sample.triples(until_ms if self._every_review_asks else None)
        if triples is None or triples.n < ENOUGH_CUSTOMERS or not (triples.T > 0.0).any():
            return False
        if float(triples.weight[triples.x > 0].sum()) < ENOUGH_REPEATERS:
            return False
        timing = {model: fit(model, triples, self.fitted.params(model)).params for model in self._models}
        spending = self.sample.spending()
        spend = None if spending is None else fit_spend(spending, self.fitted.spend).params
        self.fitted = Fitted(timing, spend)
        return True

    def state(self) -> RefitsState:
        """Take out everything that `restore` needs."""
        return RefitsState(self.sample.state(), self._latest_ms, self._interval, self.fitted)

    def restore(self, state: RefitsState) -> None:
        """Go on from a state, with the settings of this object."""
        self.sample = CustomersSample.restore(self._size, self._seed, state.sample)
        self._latest_ms = state.latest_ms
        self._interval = state.interval
        self.fitted = state.fitted
