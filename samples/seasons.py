"""When people shop: the rhythm that the simulated shop puts over everything its customers do.

The rate of a visit at a moment is the customer's own rate times a season that is the same for all:
the hour of the day, the day of the week, and a peak before Christmas. Such an inhomogeneous Poisson
process is a plain one in another time: with shop time S(t), the integral of the season up to t,
a wait is exponential in S and the moment is found by inverting it. The season is constant within an
hour, so S is a table of hour borders with straight lines between, and both directions are exact.
Hours and weekdays average to 1: one day of shop time is one ordinary day.

References
----------
Cinlar, E. (1975), Introduction to Stochastic Processes, chapter 4.7: the time change.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_HOURS = (5, 3, 2, 1, 1, 2, 5, 9, 13, 17, 20, 21, 22, 20, 19, 19, 20, 22, 25, 29, 32, 29, 20, 11)
_WEEKDAYS = (105, 100, 97, 97, 93, 98, 110)  # Monday first
_HOURS_MEAN = sum(_HOURS) / len(_HOURS)
_WEEKDAYS_MEAN = sum(_WEEKDAYS) / len(_WEEKDAYS)


class Seasons:
    """Shop time over one window of the simulation.

    Parameters
    ----------
    start_ms
        Where the window begins, epoch milliseconds, at a full hour; the shop's clock shows UTC.
    days
        Length of the window.
    december_peak
        By how much the days before Christmas are busier: 0.8 makes them 1.8 times an ordinary day.

    Examples
    --------
    >>> june = Seasons(start_ms=1_685_923_200_000, days=14, december_peak=0.8)  # a Monday
    >>> round(june.shop_days(june.start_ms + 7 * DAY_MS), 6)
    7.0
    >>> june.clock_ms(june.shop_days(june.start_ms + 5 * HOUR_MS)) == june.start_ms + 5 * HOUR_MS
    True
    """

    def __init__(self, start_ms: int, days: int, december_peak: float) -> None:
        self.start_ms = start_ms
        self.end_ms = start_ms + days * DAY_MS
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start_ms)
        self._per_hour: list[float] = []
        self._borders = [0.0]
        for _ in range(24 * days):
            of_day = (
                _WEEKDAYS[moment.weekday()] / _WEEKDAYS_MEAN * (1 + december_peak * _advent(moment.date()))
            )
            passed = of_day * _HOURS[moment.hour] / _HOURS_MEAN / 24
            self._per_hour.append(passed)
            self._borders.append(self._borders[-1] + passed)
            moment += timedelta(hours=1)
        self.shop_days_total = self._borders[-1]

    def shop_days(self, at_ms: int) -> float:
        """Return the shop time since the start of the window, in ordinary days.

        Parameters
        ----------
        at_ms
            A moment in the window, epoch milliseconds.
        """
        hour, rest_ms = divmod(at_ms - self.start_ms, HOUR_MS)
        if hour >= len(self._per_hour):
            return self.shop_days_total
        return self._borders[hour] + self._per_hour[hour] * rest_ms / HOUR_MS

    def clock_ms(self, shop_days: float) -> int:
        """Return the moment at which the shop time is reached, the end of the window if never.

        Parameters
        ----------
        shop_days
            Shop time since the start of the window, in ordinary days, not negative.
        """
        if shop_days >= self.shop_days_total:
            return self.end_ms
        hour = bisect_right(self._borders, shop_days) - 1
        rest = (shop_days - self._borders[hour]) / self._per_hour[hour]
        return self.start_ms + hour * HOUR_MS + round(rest * HOUR_MS)


def _advent(day: date) -> float:
    """How far the peak before Christmas has come: 0 to mid-November, 1 by mid-December, 0 after it."""
    if day.month == 11:
        return max(0.0, (day.day - 15) / 30)
    if day.month == 12:
        return min(1.0, (day.day + 15) / 30) if day.day <= 23 else 0.0
    return 0.0
