"""When a customer is looked at, and which looks become questions.

The schedule is a function of the last order alone: a week after it, two weeks, up to a number of
weeks, then every 30 days until the customer has been silent for so long that looking is pointless;
the last look is at that moment itself. So it needs no memory, and a review that came early or late
shifts nothing. A review asks P(no order within the horizon); whether it is kept as a question to
learn from is a hash of customer and time, so the same questions are asked in every run.
"""

from __future__ import annotations

from typing import Final

from streams.config import DAY_MS, ReviewConfig, days_ms
from streams.customer.packing import digest
from streams.customer.state import NO_TIME

WEEK_MS: Final = 7 * DAY_MS
MONTH_MS: Final = 30 * DAY_MS


def next_review_ms(order_ms: int, as_of_ms: int, config: ReviewConfig) -> int:
    """Find the first scheduled review after a moment.

    Parameters
    ----------
    order_ms
        The last order.
    as_of_ms
        The review found lies strictly after it.

    Returns
    -------
    int
        Event time, or `NO_TIME` when the customer has been silent for too long.

    Examples
    --------
    >>> [next_review_ms(0, day * DAY_MS, ReviewConfig()) / DAY_MS for day in (0, 7, 83, 84, 354, 365)]
    [7.0, 14.0, 84.0, 114.0, 365.0, 0.0]
    """
    silence_ms = max(0, as_of_ms - order_ms)
    silent_ms = days_ms(config.silent_days)
    if silence_ms >= silent_ms:
        return NO_TIME
    weekly_until_ms = config.weekly_reviews * WEEK_MS
    if silence_ms < weekly_until_ms:
        due_ms = (silence_ms // WEEK_MS + 1) * WEEK_MS
    else:
        due_ms = weekly_until_ms + ((silence_ms - weekly_until_ms) // MONTH_MS + 1) * MONTH_MS
    return order_ms + min(due_ms, silent_ms)


def becomes_question(customer_id: str, as_of_ms: int, config: ReviewConfig) -> bool:
    """Decide whether a review is kept as a question.

    Examples
    --------
    >>> becomes_question("c1", 0, ReviewConfig(question_share=1.0))
    True
    >>> becomes_question("c1", 0, ReviewConfig(question_share=0.0))
    False
    """
    if config.question_share >= 1.0:
        return True
    key = digest(f"{config.seed}/{as_of_ms}/{customer_id}")
    return int.from_bytes(key, "big") < config.question_share * 2.0**64
