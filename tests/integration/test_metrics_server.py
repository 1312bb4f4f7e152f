"""The server of metrics on real sockets, with those who ask badly, slowly, or not at all."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from syncd.config import Address
from syncd.errors import ErrorCode, SyncdError
from syncd.metrics import server as server_module
from syncd.metrics.server import CONNECTIONS, LONGEST_REQUEST_BYTES, Answer, MetricsServer

BODY = b"x" * 8_000_000
"""More than a socket's buffers take: who does not read is noticed."""


def free_address() -> Address:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return Address("127.0.0.1", int(taken.getsockname()[1]))


def answer(path: str) -> Answer:
    if path == "/broken":
        raise ValueError
    return Answer(200, "text/plain", BODY if path == "/large" else path.encode())


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    made = MetricsServer(free_address(), answer)
    made.start()
    yield made
    made.stop()


def connect(server: MetricsServer) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=20.0)


def read_all(asked: socket.socket) -> bytes:
    with closing(asked):
        received = bytearray()
        while chunk := asked.recv(1 << 20):
            received += chunk
        return bytes(received)


def ask(server: MetricsServer, request: bytes) -> bytes:
    asked = connect(server)
    asked.sendall(request)
    return read_all(asked)


def get(server: MetricsServer, path: str = "/here") -> bytes:
    return ask(server, f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()).partition(b"\r\n\r\n")[2]


def ask_slowly(asked: socket.socket, until_s: float) -> None:
    while time.monotonic() < until_s:
        asked.sendall(b"G")
        time.sleep(0.05)


def test_a_question_is_answered_whole_and_the_connection_closed(server: MetricsServer) -> None:
    assert get(server) == b"/here"
    assert get(server, "/here?again=1") == b"/here"
    assert get(server, "/large") == BODY


def test_a_question_may_come_in_pieces(server: MetricsServer) -> None:
    asked = connect(server)
    for piece in (b"GET /he", b"re HTTP/1.0\r", b"\n\r", b"\n"):
        asked.sendall(piece)
    assert read_all(asked).endswith(b"\r\n\r\n/here")


def test_head_is_the_answer_without_its_body(server: MetricsServer) -> None:
    answered = ask(server, b"HEAD /here HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 5\r\n" in answered
    assert answered.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /here HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET /here\r\n\r\n", 400),
        (b"GET /here HTTP/2\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + b"x" * LONGEST_REQUEST_BYTES, 400),
    ],
    ids=["another verb", "TLS", "no version", "another version", "nothing", "endless"],
)
def test_what_is_no_question_is_told_so(server: MetricsServer, request_bytes: bytes, status: int) -> None:
    assert ask(server, request_bytes).startswith(f"HTTP/1.1 {status} ".encode())
    assert get(server) == b"/here"


def test_an_answer_that_breaks_costs_one_connection(server: MetricsServer) -> None:
    assert get(server, "/broken") == b""
    assert get(server) == b"/here"


def test_who_goes_away_costs_nobody_anything(server: MetricsServer) -> None:
    for _ in range(3 * CONNECTIONS):
        asked = connect(server)
        asked.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        # Closed with an answer on its way: the other side meets a reset.
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        asked.close()
    assert get(server) == b"/here"


def test_who_neither_asks_nor_reads_loses_the_place_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE_S", 0.5)
    before = threading.active_count()
    server = MetricsServer(free_address(), answer)
    server.start()
    try:
        silent = [connect(server) for _ in range(2 * CONNECTIONS)]
        for asked in silent[::2]:
            asked.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert get(server) == b"/here"
        assert threading.active_count() == before + 1
        assert [asked.recv(1) for asked in silent[1::2]] == [b""] * CONNECTIONS
        for asked in silent:
            asked.close()
    finally:
        server.stop()


def test_who_asks_a_byte_at_a_time_wins_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE_S", 0.5)
    server = MetricsServer(free_address(), answer)
    server.start()
    with closing(connect(server)) as asked, pytest.raises(ConnectionError):
        ask_slowly(asked, until_s=time.monotonic() + 20.0)
    server.stop()


def test_a_stopped_server_lets_go_of_its_address_and_of_whoever_is_there() -> None:
    server = MetricsServer(free_address(), answer)
    server.start()
    silent = connect(server)
    assert get(server) == b"/here"
    server.stop()
    assert silent.recv(1) == b""
    silent.close()
    again = MetricsServer(server.address, answer)
    again.start()
    assert get(again) == b"/here"
    again.stop()


def test_a_port_that_is_taken_is_an_error_of_the_configuration(server: MetricsServer) -> None:
    with pytest.raises(SyncdError) as caught:
        MetricsServer(server.address, answer)
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert caught.value.message == f"metrics.listen: {server.address} cannot be listened on: Address already in use."


def test_a_family_of_addresses_that_the_service_may_not_use_is_a_fault_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As under the unit without its drop-in."""

    def refused(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr("syncd.metrics.server.socket.socket", refused)
    with pytest.raises(SyncdError) as caught:
        MetricsServer(Address("127.0.0.1", 9), lambda path: Answer(404, "text/plain", path.encode()))
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert "install-service" in caught.value.message
