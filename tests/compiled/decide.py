"""Replays two shops and prints what was decided, remembered and written, as hashes.

A program of its own, because a process has the compiled modules or the interpreter's, not both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from agents.lines import Lines
from agents.replay import RESULTS, replay_files
from agents.routing import route
from agents.settings import load
from samples import cdnow, shop
from samples.shop_config import ShopConfig
from schemas.codec import encode
from schemas.topics import INPUTS
from streams.config import AlertConfig, ReviewConfig, SegmentConfig, StreamConfig, ValueConfig
from streams.customer import machine
from streams.customer.decision import Decision
from streams.customer.state_codec import decode_state, encode_state
from streams.replay import Replay


def decide(messages: Iterable[bytes], config: StreamConfig) -> str:
    """Hash every decision in order, and every state at the end, as they go on the wire."""
    said, kept = sha256(), sha256()
    count = 0

    def hear(decision: Decision) -> None:
        nonlocal count
        count += 1
        payload = b"-" if decision.payload is None else encode(decision.payload)
        said.update(decision.topic.encode() + decision.customer_id.encode() + payload)

    replay = Replay(config, sink=hear)
    replay.run([(INPUTS.index(route(value)[0]), value) for value in messages])
    for customer_id, state in sorted(replay.machine.states.items()):
        wire = encode_state(state)
        assert encode_state(decode_state(wire)) == wire
        kept.update(customer_id.encode() + wire)
    return f"{count} decisions {said.hexdigest()} {len(replay.machine.states)} states {kept.hexdigest()}"


def written(messages: Iterable[bytes]) -> str:
    """Hash the files of `holdfast replay`: lines of decisions, KPIs of days, report and page."""
    settings = load(Path(os.devnull), {}, {"reviews.horizon_days": 84.0})
    with TemporaryDirectory() as folder:
        file, out = Path(folder, "messages.jsonl"), Path(folder, "out")
        file.write_bytes(b"\n".join(messages) + b"\noops\n")
        content = replay_files(settings, [Lines(str(file))], out)
        assert content["model"]["btyd"]["parameters"] is not None
        return " ".join(f"{name} {sha256((out / name).read_bytes()).hexdigest()}" for name in RESULTS)


def introduced(messages: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Let now and then somebody say what is known of a customer."""
    for number, message in enumerate(messages):
        yield message
        if number % 37 == 0 and message.get("userId"):
            traits = {
                "plan": ("gold", "silver", None)[number % 3],
                "cac": number % 50,
                "email": "a@b.example",
            }
            head = {name: message[name] for name in ("userId", "timestamp")}
            yield {"type": "identify", "messageId": f"identify-{number}", "traits": traits, **head}


if __name__ == "__main__":
    clicks = ShopConfig(customers=150, days=120, seed=5, duplicate_rate=0.02, disorder_ms=200_000)
    orders_only = StreamConfig(reviews=ReviewConfig(horizon_days=84.0))
    grouped = StreamConfig(
        reviews=ReviewConfig(horizon_days=14.0),
        segments=SegmentConfig(borders="learned", clusters=4, traits=("plan",)),
        value=ValueConfig(acquisition_cost_trait="cac"),
    )
    crowd = ShopConfig(customers=400, days=120, seed=6)
    eager = AlertConfig(min_orders=1, raise_at=0.4, escalate_at=0.6, resolve_below=0.3)
    sys.stdout.write(
        f"{machine.__file__}\n"
        f"{decide(map(orjson.dumps, islice(shop.messages(clicks), 25_000)), StreamConfig(alerts=eager))}\n"
        f"{decide(map(orjson.dumps, introduced(islice(shop.messages(crowd), 25_000))), grouped)}\n"
        f"{decide(map(orjson.dumps, cdnow.messages('tenth')), orders_only)}\n"
        f"{written(map(orjson.dumps, cdnow.messages('tenth')))}\n"
    )
