"""A few words of HTTP on loopback: one thread for all connections, bounded in number, length and time.

Whoever asks and does not read, or connects and does not ask, holds one of the places until its time is up, and nothing
else. What is answered is made by `answer`, on this thread.

The library's `http.server` would take a thread for every connection, and its time-out begins anew with every byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog

from syncd.config import Address
from syncd.errors import ErrorCode, SyncdError

log = structlog.get_logger()

CONNECTIONS: Final = 32
"""More wait in the system's queue until a place is free."""
PATIENCE_S: Final = 5.0
"""For a connection, from its beginning to its end."""
LONGEST_REQUEST_BYTES: Final = 8192
_READ_BYTES: Final = 4096
_PAUSE_S: Final = 1.0
"""After the system had no descriptor left for a connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    content_type: str
    body: bytes


BAD_REQUEST: Final = Answer(400, "text/plain; charset=utf-8", b"This is no HTTP request.\n")
ONLY_GET: Final = Answer(405, "text/plain; charset=utf-8", b"Only GET and HEAD are answered.\n")


class MetricsServer:
    """From its making on the address is taken; answers are given from `start` to `stop`."""

    def __init__(self, address: Address, answer: Callable[[str], Answer]) -> None:
        """Raises `SyncdError` CONFIG_INVALID where the address cannot be had."""
        self.address = address
        self._answer = answer
        self._listener = _listen(address)
        self._loop = asyncio.new_event_loop()
        self._serving = self._loop.create_task(self._serve_all())
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more, and let go of the address."""
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serving)

    async def _serve_all(self) -> None:
        places = asyncio.Semaphore(CONNECTIONS)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                connection = await self._accept()
                group.create_task(self._serve(connection)).add_done_callback(partial(_leave, connection, places))

    async def _accept(self) -> socket.socket:
        while True:
            try:
                return (await self._loop.sock_accept(self._listener))[0]
            except OSError as error:
                log.warning("metrics_connection_refused", reason=error.strerror)
                await asyncio.sleep(_PAUSE_S)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                if (request := await self._read(connection)) is not None:
                    await self._loop.sock_sendall(connection, respond(request, self._answer))
        except OSError:
            return  # It is gone, or its time is up.
        except Exception:
            log.exception("metrics_broke")

    async def _read(self, connection: socket.socket) -> bytes | None:
        """A whole question, or more than one may be long; None: nobody asks any more."""
        asked = bytearray()
        while b"\r\n\r\n" not in asked and len(asked) <= LONGEST_REQUEST_BYTES:
            chunk = await self._loop.sock_recv(connection, _READ_BYTES)
            if not chunk:
                return None
            asked += chunk
        return bytes(asked)


def _leave(connection: socket.socket, places: asyncio.Semaphore, _task: asyncio.Task[None]) -> None:
    connection.close()
    places.release()


def respond(request: bytes, answer: Callable[[str], Answer]) -> bytes:
    """The whole answer to a whole request."""
    if len(request) > LONGEST_REQUEST_BYTES:
        return _to_bytes(BAD_REQUEST)
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _to_bytes(BAD_REQUEST)
    if words[0] not in {b"GET", b"HEAD"}:
        return _to_bytes(ONLY_GET)
    path = words[1].partition(b"?")[0].decode("latin-1")
    return _to_bytes(answer(path), with_body=words[0] == b"GET")


def _to_bytes(answer: Answer, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (answer.body if with_body else b"")


def _listen(address: Address) -> socket.socket:
    listener: socket.socket | None = None
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
        # A restart must not wait for what the last run's connections left behind.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(CONNECTIONS)
    except OSError as error:
        if listener is not None:
            listener.close()
        allowed = " Under the unit 'syncctl install-service', then a restart, allows it." if listener is None else ""
        message = f"metrics.listen: {address} cannot be listened on: {error.strerror}.{allowed}"
        raise SyncdError(ErrorCode.CONFIG_INVALID, message) from error
    listener.settimeout(0.0)
    return listener
