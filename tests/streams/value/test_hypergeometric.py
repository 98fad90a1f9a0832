"""The continued fraction agrees with the series that defines the function, and with SciPy where that is
one.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import hyp2f1

from streams.value.hypergeometric import gauss_1


def series(q: float, c: float, z: float) -> float:
    term, total, k = 1.0, 1.0, 0
    while term > 1e-17 * total:
        term *= (q + k) / (c + k) * z
        total += term
        k += 1
    return total


@pytest.mark.parametrize(
    ("q", "more"), [(0.5, 1.6), (40.0, 18.0), (500.0, 1.01), (1e-3, 1.0), (2000.0, 21.0)]
)
@pytest.mark.parametrize("z", [0.0, 0.1, 0.9, 0.99, 0.9999])
def test_it_is_the_sum_of_its_series(q: float, more: float, z: float) -> None:
    value = gauss_1(np.array([q]), np.array([q + more]), np.array([z]))[0]
    assert value == pytest.approx(series(q, q + more, z), rel=1e-11)


def test_it_is_a_number_where_scipy_gives_none() -> None:
    assert np.isnan(hyp2f1(1.0, 1.0001, 1021.0001, 0.995))
    value = gauss_1(1.0001, np.array([1021.0001]), np.array([0.995]))[0]
    assert value == pytest.approx(series(1.0001, 1021.0001, 0.995), rel=1e-12)


@given(st.floats(0.01, 50), st.floats(1, 50), st.floats(0, 0.9))
def test_it_agrees_with_scipy(q: float, more: float, z: float) -> None:
    value = gauss_1(np.array([q]), np.array([q + more]), np.array([z]))[0]
    assert value == pytest.approx(hyp2f1(1.0, q, q + more, z), rel=1e-10)
