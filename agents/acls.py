"""Who may do what on a cluster with ACLs: the least that each party needs, and no wildcard.

It follows from the topics. What is an input, the shop writes and a worker reads; what is said, a worker
writes and others read; state is the worker's alone. Two outputs are read by the worker too, because what
one agent says another hears. READ and WRITE imply DESCRIBE in Kafka, and WRITE implies the idempotent
producer, so neither is listed. A test gives a cluster these rights and no others and runs everything.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from agents.settings import Settings
from schemas.topics import EXAMPLES, MODELS, TOPICS, TopicSpec

Party = Literal["sender", "worker", "reader", "operator"]
PARTIES: tuple[Party, ...] = ("sender", "worker", "reader", "operator")
"""Who puts messages on the inputs, `holdfast worker`, who reads what it says, `holdfast topics --create`."""

Resource = Literal["topic", "group", "transactional id"]

_HEARD = (EXAMPLES, MODELS)


class Right(NamedTuple):
    """What a party may do with a resource; a name that ends in * is a prefix."""

    party: Party
    resource: Resource
    name: str
    operations: tuple[str, ...]


def rights(settings: Settings) -> list[Right]:
    """List the rights that the parties need.

    Parameters
    ----------
    settings
        How topics and group are named.

    Examples
    --------
    >>> [right.operations for right in rights(Settings()) if right.name == "orders"]
    [('WRITE',), ('READ',), ('CREATE', 'DESCRIBE')]
    """
    found = []
    for spec in TOPICS:
        name = settings.topic(spec.name)
        for party in PARTIES:
            operations = _operations(spec, party)
            if operations:
                found.append(Right(party, "topic", name, operations))
    group = settings.kafka.group
    found.append(Right("worker", "group", group, ("READ",)))
    found.append(Right("worker", "transactional id", f"{group}-*", ("WRITE", "DESCRIBE")))
    return found


def _operations(spec: TopicSpec, party: Party) -> tuple[str, ...]:
    if party == "operator":
        return ("CREATE", "DESCRIBE")
    match spec.role, party:
        case ("input", "sender") | ("dead", "worker"):
            return ("WRITE",)
        case ("input", "worker") | ("output" | "dead", "reader"):
            return ("READ",)
        case "output", "worker":
            return ("READ", "WRITE") if spec.name in _HEARD else ("WRITE",)
        case "internal", "worker":
            return ("READ", "WRITE", "DESCRIBE_CONFIGS")
    return ()


def acl_table() -> str:
    """Make the Markdown table of all rights, with the default names.

    Examples
    --------
    >>> print(acl_table().splitlines()[2])
    | topic `clickstream` | WRITE | READ |  | CREATE, DESCRIBE |
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for right in rights(Settings()):
        cells.setdefault((right.resource, right.name), {})[right.party] = ", ".join(right.operations)
    rows = [f"| resource | {' | '.join(PARTIES)} |", "|---" * (1 + len(PARTIES)) + "|"]
    for (resource, name), by_party in cells.items():
        row = " | ".join(by_party.get(party, "") for party in PARTIES)
        rows.append(f"| {resource} `{name}` | {row} |")
    return "\n".join(rows) + "\n"
