"""The report of a replay: what it says can be used without anything beside it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import orjson

from agents.lines import Lines
from agents.replay import replay_files
from agents.settings import load
from samples.shop import ShopConfig, messages
from samples.write import lines
from schemas.btyd import BtydParams
from streams.customer.features import FEATURE_NAMES
from streams.learning.served import btyd_log_odds, risk_of, untrained

SHOP = ShopConfig(customers=20, days=150, seed=7)


def test_a_risk_follows_from_the_model_in_the_report_alone(tmp_path: Path) -> None:
    settings = load(Path(os.devnull), {}, {"reviews.horizon_days": 14.0})
    served = msgspec.structs.replace(
        untrained(settings.streams),
        coefficient=[0.1] * len(FEATURE_NAMES),
        btyd=BtydParams(model="bgnbd", r=0.7, alpha=25.0, a=0.6, b=3.9),
        btyd_centre=0.2,
        btyd_coefficient=0.7,
    )
    (tmp_path / "shop.jsonl").write_bytes(b"".join(lines(messages(SHOP))))
    model = replay_files(settings, [Lines(str(tmp_path / "shop.jsonl"))], tmp_path / "out", served)["model"]
    told = (tmp_path / "out" / "scores.jsonl").read_bytes()
    scores = [row for row in map(orjson.loads, told.splitlines()) if "features" in row]
    assert len(scores) > 100
    parameters = msgspec.convert(model["btyd"]["parameters"], BtydParams)
    for score in scores:
        log_odds = model["intercept"]
        for name, value in zip(FEATURE_NAMES, score["features"], strict=True):
            log_odds += model["coefficients"][name] * (value - model["centres"][name])
        known = btyd_log_odds(parameters, score["features"], settings.streams.reviews.horizon_days)
        log_odds += model["btyd"]["coefficient"] * (known - model["btyd"]["centre"])
        assert risk_of(log_odds) == score["risk"]
