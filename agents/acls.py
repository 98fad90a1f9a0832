"""Who may do what on a cluster with ACLs: the least that each party needs, and no wildcard.

It follows from the topics. What is an input, the shop writes and a worker reads; what is said, a worker
writes and others read; state is the worker's alone. Two outputs are read by the worker too, because what
one agent says another hears. READ and WRITE imply DESCRIBE in Kafka, and WRITE implies the idempotent
producer, so neither is listed. A test gives a cluster these rights and no others and runs everything.

A worker without one of them would not fail at once: it would stop when it first needs the right, which for
a dead letter may be months away, or, without its group, do nothing at all and say nothing. So a worker asks
for what it has before it begins.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
)

from agents.cluster import admin
from agents.errors import OperatorError
from agents.settings import Settings
from agents.visitors import sends_to_clickstream
from schemas.topics import (
    CHANGELOG,
    CHURN_ALERTS,
    CLICKSTREAM,
    CUSTOMER_SCORES,
    ERASURES,
    EXAMPLES,
    INPUTS,
    MODELS,
    RETENTION_KPIS,
    SEGMENT_CHANGES,
    TOPICS,
    TopicSpec,
)

Party = Literal["sender", "worker", "reader", "operator", "eraser", "teller", "analyst"]
PARTIES: tuple[Party, ...] = ("sender", "worker", "reader", "operator", "eraser", "teller", "analyst")
"""Who puts messages on the inputs, `holdfast worker`, who reads what it says, `holdfast topics --create`,
`holdfast forget`, `holdfast kpis`, and who looks back: `holdfast replay`, `suggest` and `verify`
on topics."""

Resource = Literal["topic", "group", "transactional id"]

_HEARD = (EXAMPLES, MODELS)
_TOLD_OF = (CHURN_ALERTS, SEGMENT_CHANGES, CUSTOMER_SCORES, EXAMPLES)
_PROOF = (*INPUTS, CHANGELOG, CUSTOMER_SCORES)


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
    [('WRITE',), ('READ',), ('CREATE', 'DESCRIBE'), ('READ', 'DESCRIBE_CONFIGS'), ('READ',)]
    """
    found = []
    for spec in TOPICS:
        name = settings.topic(spec.name)
        for party in PARTIES:
            operations = _operations(spec, party)
            if party == "worker" and spec.name == CLICKSTREAM and sends_to_clickstream(settings):
                operations = (*operations, "WRITE")
            if operations:
                found.append(Right(party, "topic", name, operations))
    group = settings.kafka.group
    found.append(Right("worker", "group", group, ("READ",)))
    found.append(Right("eraser", "group", group, ("READ",)))
    found.append(Right("worker", "transactional id", f"{group}-*", ("WRITE", "DESCRIBE")))
    return found


def _operations(spec: TopicSpec, party: Party) -> tuple[str, ...]:
    if party == "operator":
        return ("CREATE", "DESCRIBE")
    if party == "eraser":
        own = ("WRITE",) if spec.name == ERASURES else ("READ",) if spec.name in _PROOF else ("DESCRIBE",)
        return (*own, "DESCRIBE_CONFIGS")
    if party == "teller":
        return ("READ", "WRITE") if spec.name == RETENTION_KPIS else ("READ",) * (spec.name in _TOLD_OF)
    match spec.role, party:
        case ("input", "sender") | ("dead", "worker"):
            return ("WRITE",)
        case ("input", "worker" | "analyst") | ("output", "analyst") | ("output" | "dead", "reader"):
            return ("READ",)
        case "output", "worker":
            if spec.name == RETENTION_KPIS:
                return ("DESCRIBE",)  # it sees that the topic is there
            return ("READ", "WRITE") if spec.name in _HEARD else ("WRITE",)
        case "internal", "worker":
            return ("READ", "WRITE", "DESCRIBE_CONFIGS")
    return ()


def check_rights(settings: Settings, party: Party = "worker") -> None:
    """Check that the cluster grants what a party needs; the topics are there.

    Parameters
    ----------
    settings
        Where, who logs in, and how topics and group are named.
    party
        As whom. Transactional ids are left out: no request tells the rights to those.

    Raises
    ------
    OperatorError
        With one line for each right that is missing.
    """
    with admin(settings) as client:
        told = {t["name"]: t.get("authorized_operations") for t in client.describe_topics()}
        missing = []
        for right in rights(settings):
            if right.party != party:
                continue
            if right.resource == "topic":
                granted = told.get(right.name)
            elif right.resource == "group" and any(told.values()):
                granted = _granted_on_group(client, right.name)
            else:
                granted = None
            if granted is None:  # a broker that does not tell, as the embedded one
                continue
            missing += [
                f"no right to {operation} on {right.resource} {right.name}"
                for operation in right.operations
                if operation not in granted
            ]
    if missing:
        raise OperatorError("\n".join(missing))


def _granted_on_group(client: Any, group: str) -> list[str] | None:
    try:
        found = client.describe_groups([group])[group].get("authorized_operations")
    except GroupAuthorizationFailedError:
        return []
    except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
        return None  # a cluster that has not had a group yet: who may not ask is told so before
    return None if found is None else list(found)


def acl_table() -> str:
    """Make the Markdown table of all rights, with the default names.

    Examples
    --------
    >>> print(acl_table().splitlines()[2])
    | topic `clickstream` | WRITE | READ |  | CREATE, DESCRIBE | READ, DESCRIBE_CONFIGS |  | READ |
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for right in rights(Settings()):
        cells.setdefault((right.resource, right.name), {})[right.party] = ", ".join(right.operations)
    rows = [f"| resource | {' | '.join(PARTIES)} |", "|---" * (1 + len(PARTIES)) + "|"]
    for (resource, name), by_party in cells.items():
        row = " | ".join(by_party.get(party, "") for party in PARTIES)
        rows.append(f"| {resource} `{name}` | {row} |")
    return "\n".join(rows) + "\n"
