"""A consumer in a process of its own, which writes down what came when: `python -m bench.listener`.

Its own process, so that whoever loads the system does not keep it from looking at its clock.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition


async def listen(bootstrap: str, topic: str, partitions: int, file: Path) -> None:
    """Write a line for each record: seconds of the wall clock, partition, value in base64."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        with file.open("w", buffering=1) as out:
            print("ready", file=out)
            while True:
                fetched = await consumer.getmany(timeout_ms=1000)
                now = time.time()
                for place, records in fetched.items():
                    for record in records:
                        value = base64.b64encode(record.value or b"").decode()
                        print(f"{now:.6f} {place.partition} {value}", file=out)
    finally:
        await consumer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.listener", description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("partitions", type=int)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    asyncio.run(listen(options.bootstrap, options.topic, options.partitions, options.file))


if __name__ == "__main__":
    main()
