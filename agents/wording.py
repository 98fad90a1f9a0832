"""What features, segments and alerts are called when a person who sells things reads them.

A feature is a number that suits a model: `log_silence` 3.738 is `log1p` of days. A person wants the days.
The phrases here undo the transformation and round to what can be acted on, and say nothing that the
feature does not say: a decayed count is "about" so many and "lately", money has no currency because the
features have none. Each phrase is short enough to stand in a line with others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import expm1, log2

from schemas.decisions import AlertCause
from streams.customer.features import FEATURES

CAUSE_WORDS: dict[AlertCause, str] = {
    "risk": "risk rose",
    "ordered": "came back",
    "risk_fell": "risk fell",
    "lapsed": "lapsed",
}
"""Why an alert took a step; `lapsed` is a customer who stayed away until reviews stopped."""

WORTH_SAYING = 0.1
"""Log-odds: a reason that adds less than a tenth to the odds of leaving is none to act on."""

_HARDLY = 0.5
_BY_NAME = {feature.name: feature for feature in FEATURES}


def counted(number: int, thing: str) -> str:
    """Say how many there are of a thing whose plural ends in s.

    Examples
    --------
    >>> counted(1, "day"), counted(1200, "order")
    ('1 day', '1,200 orders')
    """
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def days(length: float) -> str:
    """Say how many days, as a person counts them.

    Examples
    --------
    >>> days(0.3), days(1.2), days(41.0)
    ('less than a day', '1 day', '41 days')
    """
    whole = round(length)
    return counted(whole, "day") if whole else "less than a day"


def _recency(value: float) -> str:
    between = expm1(value)
    return f"ordered over {days(between)}" if between >= _HARDLY else "ordered on one day only"


def _gaps(value: float) -> str:
    ratio = expm1(value)
    if ratio < 0.05:
        return "ordered just now"
    return (
        f"silent for {ratio:.1f} of the usual gap" if ratio < 0.95 else f"silent for {ratio:.1f} usual gaps"
    )


def _lately(thing: str, when: str, article: str = "a") -> Callable[[float], str]:
    """Word a decayed count: it is no whole number, and below one half it is hardly one."""

    def phrase(value: float) -> str:
        count = expm1(value)
        if count <= _HARDLY:
            return f"hardly {article} {thing} {when}"
        return f"about {counted(round(count), thing)} {when}"

    return phrase


def _share(some: str, none: str) -> Callable[[float], str]:
    def phrase(value: float) -> str:
        return some.format("under 1" if value < 0.005 else f"{100.0 * value:.0f}") if value > 0.0 else none

    return phrase


def _money(words: str) -> Callable[[float], str]:
    return lambda value: words.format(f"{expm1(value):,.2f}")


def _items(value: float) -> str:
    return f"{expm1(value):,.1f} pieces an order" if value > 0.0 else "no word of what was in orders"


def _categories(value: float) -> str:
    number = round(expm1(value))
    if not number:
        return "no word of categories"
    return "bought from 1 category" if number == 1 else f"bought from {number:,} categories"


def _longest_gap(value: float) -> str:
    return f"longest wait {days(expm1(value))}" if value > 0.0 else "no gap between orders yet"


def _visit_trend(value: float) -> str:
    share = expm1(value)  # a quarter for a steady visitor
    if share >= 0.375:
        return "visits come faster than before"
    return "visits come as before" if share > 0.15 else "visits come slower than before"


def _visited_after(value: float) -> str:
    return f"looked in after {days(expm1(value))}" if value > 0.0 else "no visit since the last order"


def _cart_left(value: float) -> str:
    fresh = expm1(value)
    return f"left a cart {days(-7.0 * log2(min(1.0, fresh)))} ago" if fresh > 0.0 else "no cart left behind"


_PHRASES: dict[str, Callable[[float], str]] = {
    "log_tenure": lambda value: f"customer for {days(expm1(value))}",
    "log_silence": lambda value: f"silent for {days(expm1(value))}",
    "log_recency": _recency,
    "log_silence_in_gaps": _gaps,
    "log_orders": lambda value: f"{counted(round(expm1(value)), 'order')} so far",
    "log_orders_28d": _lately("order", "in recent weeks", "an"),
    "log_orders_84d": _lately("order", "in recent months", "an"),
    "one_timer": lambda value: "ordered only once" if value > _HARDLY else "ordered more than once",
    "log_revenue": _money("spent {} so far"),
    "log_order_value": _money("orders of {} on average"),
    "log_last_order_value": _money("last order of {}"),
    "refund_share": _share("{} % of revenue refunded", "nothing refunded"),
    "discount_share": _share("{} % discount on average", "no discount taken"),
    "log_views": _lately("click", "this week"),
    "log_sessions": _lately("visit", "in recent weeks"),
    "log_cart_adds": _lately("cart add", "this week"),
    "log_items": _items,
    "log_categories": _categories,
    "log_longest_gap": _longest_gap,
    "log_visit_trend": _visit_trend,
    "season_sine": lambda _: "the time of year",
    "season_cosine": lambda _: "the time of year",
    "log_visited_after": _visited_after,
    "log_cart_left": _cart_left,
}


_UNITS: dict[str, Callable[[str, float], str]] = {
    "log1p days": lambda about, value: f"{about}: {days(expm1(value))}",
    "log1p currency": lambda about, value: f"{about}: {expm1(value):,.2f}",
    "share": lambda about, value: f"{about}: {100.0 * value:.0f} %",
    "0 or 1": lambda about, value: f"{about}: {'yes' if value > _HARDLY else 'no'}",
}
"""What the registry says of a feature is a phrase too, where nobody has written a better one."""


def phrase(feature: str, value: float) -> str:
    """Say what the value of a feature means.

    Parameters
    ----------
    feature
        A name of `streams.customer.features.FEATURES`. One without a phrase here is told by its entry there;
        one of another version of this program by its name.
    value
        As the model gets it: `log1p` of days, orders or money, a share, or 0 and 1.

    Returns
    -------
    str
        A few words, without a capital at the beginning and without a stop at the end.

    Examples
    --------
    >>> phrase("log_silence", 3.7377)
    'silent for 41 days'
    >>> phrase("log_silence_in_gaps", 1.3047), phrase("log_orders_28d", 0.0204)
    ('silent for 2.7 usual gaps', 'hardly an order in recent weeks')
    >>> phrase("log_karma", 1.25)
    'karma 1.25'
    """
    if feature in _PHRASES:
        return _PHRASES[feature](value)
    if feature not in _BY_NAME:
        return f"{feature.removeprefix('log_').replace('_', ' ')} {value:.3g}"
    entry = _BY_NAME[feature]
    if entry.unit in _UNITS:
        return _UNITS[entry.unit](entry.about, value)
    counted_in_logs = entry.unit.startswith("log1p ")
    return f"{entry.about}: {expm1(value) if counted_in_logs else value:,.3g}"


def name_in_words(name: str | None) -> str:
    """Write the name of a segment or stage the way people do.

    Examples
    --------
    >>> name_in_words("cant_lose"), name_in_words("about_to_sleep"), name_in_words(None)
    ("can't lose", 'about to sleep', 'nowhere')
    """
    if name is None:
        return "nowhere"
    return "can't lose" if name == "cant_lose" else name.replace("_", " ")
