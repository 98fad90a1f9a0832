"""Whether the inputs are still the logs that the state was made of.

A state knows by offset which records it has applied, so it is only good for the topic that it was made
of. Delete that topic and create it again under the same name, and its offsets begin anew: every new
record would be taken for one that was applied long ago. So the marker names the topics by the id that
the cluster gave them, and a worker that finds others does not start. A log that was cut by its retention
before it was read is another matter: what is gone is gone, so that is counted, said out loud, and the
worker goes on with what is there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from agents import metrics
from agents.errors import OperatorError

log = logging.getLogger(__name__)


class InputRecreated(OperatorError):  # noqa: N818 - a state of the world, named after it
    """An input topic is not the one that the state was made of."""


def check_same(before: Mapping[str, str], now: Mapping[str, str], changelog: str) -> None:
    """Check that no input was created anew.

    Parameters
    ----------
    before, now
        By topic name, the id that the cluster gave it; one that is not known is not compared.
    changelog
        Where the state is kept, for the message.

    Raises
    ------
    InputRecreated
        When a topic has another id than it had.

    Examples
    --------
    >>> check_same({"orders": "a"}, {"orders": "a", "clickstream": "b"}, "customers-changelog")
    >>> check_same({"orders": "a"}, {"orders": "c"}, "customers-changelog")
    Traceback (most recent call last):
    agents.inputs.InputRecreated: topic orders was deleted and created again since ...
    """
    for topic, given in now.items():
        if before.get(topic, given) != given:
            raise InputRecreated(
                f"topic {topic} was deleted and created again since {changelog} was written: its offsets "
                f"begin anew, and new records would be taken for old ones; delete {changelog} to begin anew "
                "as well, or choose another topics.prefix"
            )


def start_of(topic: str, partition: int, wanted: int, earliest: int) -> int:
    """Say where to begin: where we left off, or, where that is gone, with the first record that is left.

    Parameters
    ----------
    wanted
        Next offset by the marker.
    earliest
        First offset that the log still has.

    Examples
    --------
    >>> start_of("orders", 0, wanted=7, earliest=0)
    7
    """
    if earliest <= wanted:
        return wanted
    metrics.CUT.labels(topic).inc(earliest - wanted)
    log.error(
        "%d records of %s[%d] were deleted before they were read: give the topic a longer retention",
        earliest - wanted,
        topic,
        partition,
    )
    return earliest
