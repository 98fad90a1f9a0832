"""Clusters are found, keep their ids, go on after a restart, and a customer belongs to the nearest."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.learning import ModelSnapshot
from schemas.segments import Borders, Cluster, Clusters, SegmentModel
from streams.config import StreamConfig
from streams.customer.features import FEATURE_NAMES, single
from streams.learning.served import Served, untrained
from streams.segments.clusters import (
    BEHAVIOURS,
    ENOUGH_ROWS,
    ClusterLearner,
    ClustersState,
    names_of,
)
from streams.segments.serving import ClusterMap

KINDS = ((0.7, 0.2, 5.0, 0.0, 0.0, 0.3), (2.5, 1.5, 2.5, 0.0, 0.0, 2.0), (1.2, 0.6, 3.5, 0.5, 0.0, 1.0))
"""Few orders and large baskets; many orders and small ones; in between, with discounts."""


def row(kind: int, rng: Random, shift: float = 0.0) -> dict[str, float]:
    return {
        behaviour.feature: single(middle + rng.gauss(0.0, 0.12) + shift)
        for behaviour, middle in zip(BEHAVIOURS, KINDS[kind], strict=True)
    }


def taught(rows: int, clusters: int = 3, seed: int = 1, shift: float = 0.0) -> ClusterLearner:
    learner, rng = ClusterLearner(clusters, seed=1), Random(seed)
    for number in range(rows):
        learner.learn(row(rng.randrange(3), rng, shift * number / rows))
        learner.begin()
    return learner


def snapshot_with(clusters: Clusters | None, borders: Borders | None = None) -> ModelSnapshot:
    return msgspec.structs.replace(untrained(StreamConfig()), segments=SegmentModel(borders, clusters))


def kinds_of(published: Clusters | None, shift: float = 0.0) -> list[int]:
    """For each kind of customer, the id of the cluster that most of them belong to."""
    found = ClusterMap(snapshot_with(published))
    rng, ids = Random(99), []
    for kind in range(3):
        values = [row(kind, rng, shift) for _ in range(50)]
        nearest = [found.nearest([v.get(name, 0.0) for name in FEATURE_NAMES]) for v in values]
        said = [one.id for one in nearest if one is not None]
        assert said.count(max(set(said), key=said.count)) >= 48
        ids.append(max(set(said), key=said.count))
    return ids


def test_kinds_of_customers_that_differ_are_told_apart_and_named_by_what_stands_out() -> None:
    published = taught(3_000).publish()
    assert published is not None
    ids = kinds_of(published)
    assert sorted(ids) == [0, 1, 2]
    names = {one.id: one.name for one in published.clusters}
    assert "large baskets" in names[ids[0]]
    assert "many orders" in names[ids[1]]
    assert "discounts" in names[ids[2]]
    assert all(one.share == pytest.approx(1 / 3, abs=0.1) for one in published.clusters)


def test_a_cluster_keeps_its_id_while_its_customers_change_slowly() -> None:
    learner, rng = taught(1_000), Random(2)
    before = kinds_of(learner.publish())
    for number in range(3_000):
        learner.learn(row(rng.randrange(3), rng, shift=0.3 * number / 3_000))
    assert kinds_of(learner.publish(), shift=0.3) == before


@settings(max_examples=8)
@given(st.integers(0, 700), st.integers(2, 6))
def test_a_learner_that_was_stopped_anywhere_goes_on_as_if_it_had_not_been(stop: int, clusters: int) -> None:
    whole = taught(700, clusters)
    rng = Random(1)
    parts = ClusterLearner(clusters, seed=1)
    for number in range(700):
        if number == stop:
            wire = msgspec.msgpack.encode(parts.state())
            parts = ClusterLearner.restore(clusters, 1, msgspec.msgpack.decode(wire, type=ClustersState))
        parts.learn(row(rng.randrange(3), rng, 0.0))
        parts.begin()
    assert parts.publish() == whole.publish()
    assert parts.state() == whole.state()


def test_it_is_the_same_in_every_process() -> None:
    """River sums over sets: with names of text, the last bits would follow the hashes of the process."""
    code = (
        "from tests.streams.segments.test_clusters import taught; import msgspec; "
        "print(msgspec.json.encode(taught(900, 5).publish()).hex())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_there_are_none_before_there_are_enough_rows_or_two_kinds_of_them() -> None:
    assert taught(ENOUGH_ROWS - 1).publish() is None
    same = ClusterLearner(3, seed=1)
    for _ in range(2 * ENOUGH_ROWS):
        same.learn(dict.fromkeys((behaviour.feature for behaviour in BEHAVIOURS), 1.0))
    assert not same.begin()
    assert same.publish() is None
    assert len(msgspec.msgpack.encode(same.state())) < 60 * ENOUGH_ROWS


def test_a_feature_that_never_varies_weighs_nothing() -> None:
    learner, rng = ClusterLearner(2, seed=1), Random(1)
    for _ in range(ENOUGH_ROWS):
        learner.learn(row(rng.randrange(2), rng) | {"refund_share": 0.0})
    assert learner.begin()
    published = learner.publish()
    assert published is not None
    assert published.scale[[b.feature for b in BEHAVIOURS].index("refund_share")] == 0.0


VALUES = st.lists(st.floats(-5, 5, width=32), min_size=len(FEATURE_NAMES), max_size=len(FEATURE_NAMES))
CENTRES = st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=2), min_size=1, max_size=6)


@given(VALUES, CENTRES, st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=2, max_size=2))
def test_a_customer_belongs_to_the_nearest_centre(
    values: list[float], centres: list[list[float]], scale: list[float]
) -> None:
    clusters = Clusters(
        ["log_orders", "log_sessions"],
        scale,
        [Cluster(7 + number, f"n{number}", centre, 0.5) for number, centre in enumerate(centres)],
    )
    found = ClusterMap(snapshot_with(clusters)).nearest(values)
    places = [FEATURE_NAMES.index("log_orders"), FEATURE_NAMES.index("log_sessions")]
    distances = (((np.array(values)[places] - np.array(centres)) * scale) ** 2).sum(axis=1)
    assert found is not None
    assert distances[found.id - 7] == pytest.approx(distances.min(), abs=1e-12)
    assert found.name == f"n{found.id - 7}"


@given(st.lists(st.lists(st.floats(-3, 3), min_size=6, max_size=6), min_size=1, max_size=12))
def test_no_two_clusters_have_one_name(centres: list[list[float]]) -> None:
    names = names_of(centres)
    assert len(set(names)) == len(centres)
    assert all(0 < len(name) < 120 for name in names)


@pytest.mark.parametrize(
    "clusters",
    [
        Clusters(["no_such_feature"], [1.0], []),
        Clusters(["log_orders"], [], []),
        Clusters(["log_orders"], [1.0], [Cluster(0, "n", [], 1.0)]),
    ],
)
def test_a_model_with_clusters_that_cannot_be_used_is_refused(clusters: Clusters) -> None:
    with pytest.raises(ValueError, match="clusters"):
        Served(snapshot_with(clusters))


@pytest.mark.parametrize(
    "borders",
    [
        Borders([1.0, 2.0, 3.0], [2, 3, 4, 5], 9),
        Borders([1.0, 2.0, 2.0, 3.0], [2, 3, 4, 5], 9),
        Borders([0.0, 1.0, 2.0, 3.0], [2, 3, 4, 5], 9),
        Borders([1.0, 2.0, 3.0, 4.0], [2, 3, 5, 4], 9),
    ],
)
def test_a_model_with_borders_that_do_not_grow_is_refused(borders: Borders) -> None:
    with pytest.raises(ValueError, match="do not grow"):
        Served(snapshot_with(None, borders))
