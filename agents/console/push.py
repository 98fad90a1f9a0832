"""What is pushed to open pages: server-sent events, to each page through a queue that is bounded.

A page that does not take what it is sent (a laptop that sleeps) must not hold memory here. When its queue is
full it is let go; a page that comes back loads everything anew, so nothing is missed for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

MOST_PAGES = 64
MOST_WAITING = 256


def event_bytes(name: str, payload: msgspec.Struct) -> bytes:
    r"""Write a server-sent event.

    Examples
    --------
    >>> from agents.console.answers import Alive
    >>> event_bytes("pulse", Alive())
    b'event: pulse\ndata: {"status":"ok"}\n\n'
    """
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(payload))


class Page:
    """One open page.

    Attributes
    ----------
    customer_id
        Whom it shows; empty when nobody.
    """

    def __init__(self, customer_id: str = "") -> None:
        self.customer_id = customer_id
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)

    def send(self, event: bytes | None) -> bool:
        """Hand an event over, None to say that it is over; False when the page does not keep up."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            return False
        return True

    async def next(self) -> bytes | None:
        """Wait for the next event; None when the page should go."""
        return await self._waiting.get()

    def let_go(self) -> None:
        """Make the page end, whatever still waits."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)


class Hub:
    """The open pages.

    Examples
    --------
    >>> hub = Hub()
    >>> page = hub.open("c1")
    >>> hub.publish(b"event: x")
    >>> asyncio.run(page.next())
    b'event: x'
    """

    def __init__(self) -> None:
        self._pages: set[Page] = set()

    def __len__(self) -> int:
        return len(self._pages)

    def open(self, customer_id: str = "") -> Page | None:
        """Open a page, or None when there are too many."""
        if len(self._pages) >= MOST_PAGES:
            return None
        page = Page(customer_id)
        self._pages.add(page)
        return page

    def close(self, page: Page) -> None:
        """Forget a page."""
        self._pages.discard(page)

    def watched(self) -> set[str]:
        """Give the customers whom a page shows."""
        return {page.customer_id for page in self._pages if page.customer_id}

    def publish(self, event: bytes, customer_id: str | None = None) -> None:
        """Send an event to every page, or to those that show a customer."""
        for page in list(self._of(customer_id)):
            if not page.send(event):
                self.close(page)
                page.let_go()

    def _of(self, customer_id: str | None) -> Iterator[Page]:
        return (page for page in self._pages if customer_id is None or page.customer_id == customer_id)

    def close_all(self) -> None:
        """Let every page go, because the console ends."""
        for page in list(self._pages):
            self.close(page)
            page.let_go()
