"""Weighs experts by their losses: a Bayes mixture over three Hedge rates and one fixed share.

Log loss is 1-mixable, so Hedge at rate 1 is never more than ln N worse in total than the best expert; but
questions of overlapping horizons repeat one another, and it then commits too soon. Slower rates (.1, .01)
and fixed share, which keeps a part of the weight on everybody for when the best expert changes, run beside
it, and their own losses weigh the four. Weights move once a block of examples.

Losses are taken at maturity before the example is learned from (progressive validation). That is an
approximation: what was served a horizon earlier knew less, so quick experts look a little too good.
Emulated on CDNOW against losses of what had been served: within .0010 of log loss, neither always first.

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
BLOCK = 500


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
    """Weights of `n` experts.

    Examples
    --------
    >>> mixture = Mixture(2)
    >>> for _ in range(BLOCK):
    ...     _ = mixture.learn([2.0, -2.0], label=1)
    >>> mixture.weights[0] > 0.99
    True
    """

    def __init__(self, n: int) -> None:
        # Logs of weights, by rate; fixed share is the last.
        self._members = [[-log(n)] * n for _ in range(len(RATES) + 1)]
        self._rates = [0.0] * (len(RATES) + 1)
        self._block = [0.0] * n
        self._rate_block = [0.0] * (len(RATES) + 1)
        self._count = 0
        self._sums = [0.0] * n  # of the losses of blocks that have ended
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
        self._sums = [total + loss for total, loss in zip(self._sums, self._block, strict=True)]
        self._end_block()
        return means

    def losses(self) -> list[float]:
        """Mean log loss of each expert over the blocks that have ended; nothing before the first."""
        ended = self._count - self._count % BLOCK
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
    def restore(cls, state: MixtureState) -> Mixture:
        """Go on from a state."""
        mixture = cls(len(state.block))
        mixture._count = state.count
        mixture._block = list(state.block)
        mixture._members = [list(logs) for logs in state.members]
        mixture._rates = list(state.rates)
        mixture._rate_block = list(state.rate_block)
        mixture._sums = list(state.sums)
        mixture._weigh()
        return mixture

    def _end_block(self) -> None:
        n = len(self._block)
        for rate, logs in zip((*RATES, 1.0), self._members, strict=True):
            for place, loss in enumerate(self._block):
                logs[place] -= rate * loss
        shared = _normal(self._members[-1])
        self._members[-1] = [log((1.0 - SHARE) * weight + SHARE / n) for weight in shared]
        for rate_place, loss in enumerate(self._rate_block):
            self._rates[rate_place] -= loss
        # Only differences count: the largest is 0, so that sums keep their digits for ever.
        self._members = [[value - max(logs) for value in logs] for logs in self._members]
        self._rates = [value - max(self._rates) for value in self._rates]
        self._block = [0.0] * n
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
