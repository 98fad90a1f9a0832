"""A TCP proxy that can be slow, cut connections, or swallow everything, between workers and broker.

The broker names the proxy's port as its own (its advertised listener), so clients that come by the proxy
stay with it. It runs in a thread with a loop of its own; the faults are switched from outside.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_CHUNK = 65_536


class Proxy:
    """A proxy; a context manager that opens and closes it.

    Attributes
    ----------
    port
        Where it listens.
    delay_seconds
        How long every piece of data is held, each way.
    swallow
        Read everything and pass nothing on: what a half-open connection looks like.
    passed
        Bytes passed on so far, both ways together.
    """

    def __init__(self) -> None:
        self.port = 0
        self.delay_seconds = 0.0
        self.swallow = False
        self.passed = 0
        self.resets = 0
        self._target = 0
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    def leads_to(self, port: int) -> None:
        """Say where the broker is."""
        self._target = port

    def reset(self) -> None:
        """Cut every connection that is open, without a goodbye."""
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()
            self.resets += 1

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, HOST, 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        self._loop.run_forever()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))
        self._open -= both

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, each piece as late as the delay says, several on their way at a time."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        sending = asyncio.create_task(self._send(pieces, writer))
        try:
            while piece := await reader.read(_CHUNK):
                if not self.swallow:
                    await pieces.put((self._loop.time() + self.delay_seconds, piece))
        except OSError:
            pass
        await pieces.put((0.0, b""))
        await sending

    async def _send(self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        broken = False
        while True:
            due, piece = await pieces.get()
            if not piece:
                break
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            if not broken:
                try:
                    writer.write(piece)
                    await writer.drain()
                    self.passed += len(piece)
                except OSError:
                    broken = True
        writer.transport.abort()
