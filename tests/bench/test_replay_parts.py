"""A replay taken apart does the work of a replay."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import orjson

from agents.settings import load
from bench.replay_parts import parts_of
from samples import shop
from samples.shop_config import ShopConfig


def test_each_part_takes_its_time_and_the_learner_learns(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    messages = islice(shop.messages(ShopConfig(customers=60, days=90, seed=3)), 4_000)
    file.write_bytes(b"\n".join(map(orjson.dumps, messages)) + b"\n")
    settings = load(Path(os.devnull), {}, {"reviews.horizon_days": 14.0})
    parts = parts_of(file, settings)
    assert all(seconds > 0.0 for seconds in parts), parts
