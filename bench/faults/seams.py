"""The named points at which a worker can be killed, and how to get between two of its steps.

An epoch ends in steps, each awaited: outputs acknowledged, changed states to the changelog, the marker
that makes them valid, offsets handed over, offsets committed. A point stands between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Act = Callable[[], None]


def ledgers() -> tuple[Any, ...]:
    """Both ways of writing a changelog: plain, and in transactions."""
    from agents.ledger import PlainLedger, TransactionalLedger

    return PlainLedger, TransactionalLedger


def before(owner: Any, name: str, act: Act) -> None:
    """Do something before each call of a plain method."""
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        act()
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, act: Act) -> None:
    """Do something after each call of a coroutine method that did not raise."""
    original = getattr(owner, name)

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        result = await original(*arguments, **named)
        act()
        return result

    setattr(owner, name, wrapped)


def _after_outputs(act: Act) -> None:
    from agents.epochs import Room

    after(Room, "_settle_outputs", act)


def _mid_changelog(act: Act) -> None:
    """Half of an epoch's states are on the changelog, the other half and the marker are not."""
    for ledger in ledgers():
        original = ledger.append

        async def append(self: Any, records: Any, _original: Any = original) -> Any:
            if len(records) > 1:
                await _original(self, records[: len(records) // 2])
                act()
                records = records[len(records) // 2 :]
            return await _original(self, records)

        ledger.append = append


def _after_changelog(act: Act) -> None:
    for ledger in ledgers():
        after(ledger, "commit", act)


def _after_ack(act: Act) -> None:
    """Offsets are in the table that commits follow; none of them is committed yet."""
    from agents.epochs import Room

    after(Room, "_seal", act)


def _after_commit(act: Act) -> None:
    from agents.transport import Consumer

    original = Consumer._commit

    async def wrapped(self: Any, offsets: Any) -> bool:
        confirmed = await original(self, offsets)
        if confirmed and offsets:
            act()
        return confirmed

    Consumer._commit = wrapped  # type: ignore[method-assign]


def _during_recovery(act: Act) -> None:
    """The changelog has been read; nothing has been made of it yet."""
    from agents.customers import Customers

    after(Customers, "_recover", act)


POINTS: dict[str, Callable[[Act], None]] = {
    "after_outputs": _after_outputs,
    "mid_changelog": _mid_changelog,
    "after_changelog": _after_changelog,
    "after_ack": _after_ack,
    "after_commit": _after_commit,
    "during_recovery": _during_recovery,
}
