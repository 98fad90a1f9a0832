"""Weighs experts by their losses: a Bayes mixture over three Hedge rates and one fixed share.

Log loss is 1-mixable, so Hedge at rate 1 is never more than ln N worse in total than the best expert; but
questions of overlapping horizons repeat one another, and it then commits too soon. Slower rates (.1, .01)
and fixed share, which keeps a part of the weight on everybody for when the best expert changes, run beside
it, and their own losses weigh the four, at the slowest rate: at rate 1 the quickest of them always won, by
what overlapping answers repeat. Weights move once a block of examples, and not in the first blocks, when
step sizes and scales are still settling. Where they begin is told: an expert that sees nothing, or one
feature only, is there to be compared with, and would dilute the others until it was found out.

Rates, start and warm-up were compared on CDNOW (natural reviews, a tenth of them, and four-weekly
decisions), Online Retail (30 and 90 days), Complete Journey and the simulated shop; docs/quality.md says how
far the mixture was from its best expert on each.

Losses are taken at maturity before the example is learned from (progressive validation). That is an
approximation: what was served a horizon earlier knew less, so quick experts look a little too good.
Weights by losses of what had been served were worse on all of them but Online Retail with 90 days, by .0002
to .0008 of log loss: they follow the luck of a season.

Experts are mixed as log-odds, not as risks: linear experts mix into one linear model, which can be served as
plain numbers and explained exactly.

References
----------
Cesa-Bianchi & Lugosi, Prediction, Learning, and Games (2006), chapters 3 and 5.
Herbster & Warmuth, Tracking the best expert, Machine Learning 32 (1998).
Joulani, Gyorgy & Szepesvari, Online learning under delayed feedback, ICML 2013.
"""

from __future__ import annotations

from math import exp, log, log1p

import msgspec

RATES = (1.0, 0.1, 0.01)
SHARE = 0.02
"""Part of the weight that fixed share, which learns at rate 1, spreads over all after each block."""
TOP_RATE = 0.01
"""At which the losses of the four weigh them."""
BLOCK = 500
WARM_UP = 2
"""Blocks at the start from which nobody is judged."""


class MixtureState(msgspec.Struct, array_like=True):
    """Everything that a mixture knows, as plain numbers."""

    count: int
    block: list[float]
    members: list[list[float]]
    rates: list[float]
    rate_block: list[float]
    sums: list[float]


def loss_of(log_odds: float, label: int) -> float:
    """Log loss of log-odds, in nats.

    Examples
    --------
    >>> round(loss_of(0.0, 1), 4)
    0.6931
    """
    against = -log_odds if label else log_odds
    return against + log1p(exp(-against)) if against > 0.0 else log1p(exp(against))


class Mixture:
    """Weights of experts.

    Parameters
    ----------
    prior
        Where they begin; positive.

    Examples
    --------
    >>> mixture = Mixture([1.0, 1.0])
    >>> for _ in range(40 * BLOCK):
    ...     _ = mixture.learn([2.0, -2.0], label=1)
    >>> mixture.weights[0] > 0.95
    True
    """

    def __init__(self, prior: list[float]) -> None:
        n = len(prior)
        self._prior = [share / sum(prior) for share in prior]
        # Logs of weights, by rate; fixed share is the last.
        self._members = [[log(share) for share in self._prior] for _ in range(len(RATES) + 1)]
        self._rates = [0.0] * (len(RATES) + 1)
        self._block = [0.0] * n
        self._rate_block = [0.0] * (len(RATES) + 1)
        self._count = 0
        self._sums = [0.0] * n  # of the losses of blocks that have ended, without the warm-up
        self._weigh()

    def learn(self, log_odds: list[float], label: int) -> list[float] | None:
        """Take what each expert says of an example that it has not learned from, and the answer.

        Returns
        -------
        list of float or None
            At the end of a block, the mean log loss of each expert in it.
        """
        for place, said in enumerate(log_odds):
            self._block[place] += loss_of(said, label)
        for rate, weights in enumerate(self._each):
            mixed = 0.0
            for weight, said in zip(weights, log_odds, strict=True):
                mixed += weight * said
            self._rate_block[rate] += loss_of(mixed, label)
        self._count += 1
        if self._count % BLOCK:
            return None
        means = [loss / BLOCK for loss in self._block]
        self._end_block()
        return means

    @property
    def judged(self) -> int:
        """Examples since the warm-up."""
        return max(0, self._count - WARM_UP * BLOCK)

    def totals(self) -> list[float]:
        """Log loss of each expert, summed over the examples since the warm-up."""
        if not self.judged:
            return [0.0] * len(self._sums)
        return [total + loss for total, loss in zip(self._sums, self._block, strict=True)]

    def losses(self) -> list[float]:
        """Mean log loss of each expert over the blocks since the warm-up; nothing before the first."""
        ended = self.judged - self.judged % BLOCK
        return [total / ended for total in self._sums] if ended else []

    def state(self) -> MixtureState:
        """Take everything out."""
        members = [list(logs) for logs in self._members]
        return MixtureState(
            self._count,
            list(self._block),
            members,
            list(self._rates),
            list(self._rate_block),
            list(self._sums),
        )

    @classmethod
    def restore(cls, prior: list[float], state: MixtureState) -> Mixture:
        """Go on from a state."""
        mixture = cls(prior)
        mixture._count = state.count
        mixture._block = list(state.block)
        mixture._members = [list(logs) for logs in state.members]
        mixture._rates = list(state.rates)
        mixture._rate_block = list(state.rate_block)
        mixture._sums = list(state.sums)
        mixture._weigh()
        return mixture

    def _end_block(self) -> None:
        if self._count > WARM_UP * BLOCK:
            self._sums = [total + loss for total, loss in zip(self._sums, self._block, strict=True)]
            for rate, logs in zip((*RATES, 1.0), self._members, strict=True):
                for place, loss in enumerate(self._block):
                    logs[place] -= rate * loss
            pairs = zip(_normal(self._members[-1]), self._prior, strict=True)
            self._members[-1] = [log((1.0 - SHARE) * weight + SHARE * start) for weight, start in pairs]
            for rate_place, loss in enumerate(self._rate_block):
                self._rates[rate_place] -= TOP_RATE * loss
            # Only differences count: the largest is 0, so that sums keep their digits for ever.
            self._members = [[value - max(logs) for value in logs] for logs in self._members]
            self._rates = [value - max(self._rates) for value in self._rates]
        self._block = [0.0] * len(self._block)
        self._rate_block = [0.0] * len(self._rate_block)
        self._weigh()

    def _weigh(self) -> None:
        self._each = [_normal(logs) for logs in self._members]
        rates = _normal(self._rates)
        self.weights = [
            sum(rate * weights[place] for rate, weights in zip(rates, self._each, strict=True))
            for place in range(len(self._block))
        ]


def _normal(logs: list[float]) -> list[float]:
    most = max(logs)
    raw = [exp(value - most) for value in logs]
    total = sum(raw)
    return [value / total for value in raw]
