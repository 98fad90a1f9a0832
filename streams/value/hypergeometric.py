"""Gauss's hypergeometric function 2F1(1, q; c; z) for q > 0, c > q, c > 1 and 0 <= z < 1, by its continued
fraction.

`scipy.special.hyp2f1` is not a number where c is in the hundreds and z above 0.9, which a search for
parameters may well try. The continued fraction of a 2F1 with a 1 in it has positive coefficients below 1
and converges like a geometric series of ratio (1 - w) / (1 + w), w = sqrt(1 - z), whatever q and c: how
many steps it takes is known beforehand, and they are few unless z is very near 1.

References
----------
NIST Digital Library of Mathematical Functions, 15.7.5 and 3.10; Gauss, Disquisitiones generales circa seriem
infinitam (1813).
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from streams.value.triples import Floats

_ERROR = 1e-13
_MOST_STEPS = 4_000


def gauss_1(q: Floats | float, c: Floats, z: Floats) -> Floats:
    """2F1(1, q; c; z).

    Examples
    --------
    2F1(1, 1; 2; z) is -log(1 - z) / z:

    >>> gauss_1(1.0, np.array([2.0]), np.array([0.5])).round(6).tolist()
    [1.386294]
    """
    w = sqrt(max(0.0, 1.0 - float(z.max())))
    ratio = (1.0 - w) / (1.0 + w)
    steps = 5 if ratio <= 0.0 else min(_MOST_STEPS, int(log(_ERROR) / min(log(ratio), -1e-9)) + 5)
    d = c - 1.0
    fraction = np.ones_like(c)
    for step in range(steps, 0, -1):
        m = step // 2
        if step % 2:
            k = (q + m) * (d + m) / ((d + 2 * m) * (d + 2 * m + 1.0))
        else:
            k = m * (d - q + m) / ((d + 2 * m - 1.0) * (d + 2 * m))
        fraction = 1.0 - k * z / fraction
    return 1.0 / fraction
