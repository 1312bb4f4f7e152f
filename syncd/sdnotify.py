"""Telling systemd how the service is (sd_notify(3)): a datagram to a socket, silently nothing without one."""

from __future__ import annotations

import os
import socket
import time
from typing import Final

BUSY_S: Final = 1.0
"""How long the manager's queue may be full; a word is then lost, the service goes on, and the next words wait for
nobody until one is taken again."""


class ServiceNotifier:
    """The connection to the service manager, if there is one."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address or os.environ.get("NOTIFY_SOCKET")
        self._is_busy = False

    def ready(self, status: str) -> None:
        """Start-up is over: `systemctl start` returns."""
        self._send("READY=1", f"STATUS={status}", must_wait=True)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """A reload began; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The end began."""
        self._send("STOPPING=1", f"STATUS={status}")

    def extend(self, seconds: float) -> None:
        """What is under way, start or stop, may take so long from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        """The main loop goes round, and no watcher has ended."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str, must_wait: bool = False) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.settimeout(BUSY_S if must_wait or not self._is_busy else 0.0)
                text = "\n".join(line.replace("\n", " ") for line in lines)
                connection.sendto(text.encode("utf-8", "backslashreplace"), address)
            self._is_busy = False
        except OSError:  # The manager is gone or busy: the service goes on without it.
            self._is_busy = True


def watchdog_interval_s() -> float | None:
    """How often `alive` is due: half of what systemd allows; None when it does not watch."""
    allowed_us = os.environ.get("WATCHDOG_USEC")
    watched_pid = os.environ.get("WATCHDOG_PID")
    if not allowed_us or (watched_pid and watched_pid != str(os.getpid())):
        return None
    return int(allowed_us) / 1e6 / 2
