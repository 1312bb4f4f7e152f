"""A few words of HTTP on loopback: one thread for all connections, bounded in number, length and time.

Whoever asks and does not read, or connects and does not ask, holds one of the places until its time is up, and nothing
else. What is answered is made by `answer`, on this thread.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    content_type: str
    body: bytes


BAD_REQUEST: Final = Answer(400, "text/plain; charset=utf-8", b"This is no HTTP request.\n")
ONLY_GET: Final = Answer(405, "text/plain; charset=utf-8", b"Only GET and HEAD are answered.\n")


@dataclass(slots=True)
class _Connection:
    """One that asks."""

    socket: socket.socket
    until_s: float
    asked: bytearray = field(default_factory=bytearray)
    unsent: memoryview | None = None
    """None: the question is not complete yet."""


class MetricsServer:
    """From its making on the address is taken; answers are given from `start` to `stop`."""

    def __init__(self, address: Address, answer: Callable[[str], Answer]) -> None:
        """Raises `SyncdError` CONFIG_INVALID where the address cannot be had."""
        self.address = address
        self._answer = answer
        self._listener = _listen(address)
        self._connections: dict[int, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._stop_fd, selectors.EVENT_READ)
        self._listens = False
        self._listen_again_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more, and let go of the address."""
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join()
        for connection in list(self._connections.values()):
            self._close(connection)
        self._selector.close()
        self._listener.close()
        os.close(self._stop_fd)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._listen_if_there_is_room()
            for key, _ in self._selector.select(self._sleep_s()):
                if key.fd == self._stop_fd:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif (connection := self._connections.get(key.fd)) is not None:
                    self._serve(connection)
            now_s = time.monotonic()
            for connection in [each for each in self._connections.values() if now_s >= each.until_s]:
                self._close(connection)

    def _sleep_s(self) -> float | None:
        due_s = [each.until_s for each in self._connections.values()]
        if not self._listens and len(self._connections) < CONNECTIONS:
            due_s.append(self._listen_again_at_s)
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _listen_if_there_is_room(self) -> None:
        wanted = len(self._connections) < CONNECTIONS and time.monotonic() >= self._listen_again_at_s
        if wanted and not self._listens:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._listens and not wanted:
            self._selector.unregister(self._listener)
        self._listens = wanted

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("metrics_connection_refused", reason=error.strerror)
            self._listen_again_at_s = time.monotonic() + _PAUSE_S
            return
        accepted.settimeout(0.0)
        self._connections[accepted.fileno()] = _Connection(accepted, time.monotonic() + PATIENCE_S)
        self._selector.register(accepted, selectors.EVENT_READ)

    def _serve(self, connection: _Connection) -> None:
        try:
            is_over = self._read(connection) if connection.unsent is None else self._send(connection)
        except BlockingIOError:
            return
        except OSError:
            is_over = True  # It is gone: nobody waits for the answer.
        except Exception:
            log.exception("metrics_broke")
            is_over = True
        if is_over:
            self._close(connection)

    def _read(self, connection: _Connection) -> bool:
        chunk = connection.socket.recv(_READ_BYTES)
        connection.asked += chunk
        if not chunk:
            return True
        is_long = len(connection.asked) > LONGEST_REQUEST_BYTES
        if b"\r\n\r\n" not in connection.asked and not is_long:
            return False
        connection.unsent = memoryview(BAD_REQUEST_BYTES if is_long else respond(bytes(connection.asked), self._answer))
        self._selector.modify(connection.socket, selectors.EVENT_WRITE)
        return self._send(connection)

    def _send(self, connection: _Connection) -> bool:
        if connection.unsent is not None:
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        return not connection.unsent

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        self._selector.unregister(connection.socket)
        connection.socket.close()


def respond(request: bytes, answer: Callable[[str], Answer]) -> bytes:
    """The whole answer to a whole request."""
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return BAD_REQUEST_BYTES
    if words[0] not in {b"GET", b"HEAD"}:
        return _to_bytes(ONLY_GET)
    path = words[1].partition(b"?")[0].decode("latin-1")
    return _to_bytes(answer(path), with_body=words[0] == b"GET")


def _to_bytes(answer: Answer, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (answer.body if with_body else b"")


BAD_REQUEST_BYTES: Final = _to_bytes(BAD_REQUEST)


def _listen(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A restart must not wait for what the last run's connections left behind.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(CONNECTIONS)
    except OSError as error:
        listener.close()
        message = f"metrics.listen: {address} cannot be listened on: {error.strerror}."
        raise SyncdError(ErrorCode.CONFIG_INVALID, message) from error
    listener.settimeout(0.0)
    return listener
