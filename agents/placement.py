"""Whether customers are where they should be: a sample of records, looked at as they come.

A customer whose events lie on two partitions is two customers to us, each half as loyal, and nothing
fails. So the last record of each fetched batch is looked at: the customer's id must hash to the partition
that it came from, as every client with Kafka's own partitioner puts it. Whatever does not is counted, and
said once for each topic. The other partitioner of librdkafka's clients puts customers elsewhere without
tearing them apart; where both inputs are written so, the count may be ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from agents import metrics
from agents.client import partition_of
from schemas.events import Event

log = logging.getLogger(__name__)

_told: set[str] = set()


class Placement:
    """Looks at records of one partition number.

    Parameters
    ----------
    partition
        The number.
    partitions_of
        Gives the number of partitions of a topic, None while it is not known.

    Examples
    --------
    >>> from schemas.events import Click
    >>> placement = Placement(3, lambda topic: 4)
    >>> placement.look("orders", Click("c-17", "m", 0)), placement.look("orders", Click("c-16", "m", 0))
    (True, False)
    """

    def __init__(self, partition: int, partitions_of: Callable[[str], int | None]) -> None:
        self._partition = partition
        self._partitions_of = partitions_of

    def look(self, topic: str, event: Event | Any) -> bool:
        """Look at what one record became; False when its customer belongs to another partition."""
        customer_id = event.customer_id if isinstance(event, Event) else ""
        partitions = self._partitions_of(topic) if customer_id else None
        if not partitions or partition_of(customer_id.encode(), partitions) == self._partition:
            return True
        metrics.MISPLACED.labels(topic).inc()
        if topic not in _told:
            _told.add(topic)
            log.error(
                "%s[%d] holds a customer whose id belongs to another partition: it is not keyed by customer "
                "id, or not by Kafka's own partitioner, so events of one customer may lie apart; see "
                "`holdfast rekey` (said once, counted in holdfast_misplaced_records_total)",
                topic,
                self._partition,
            )
        return False
