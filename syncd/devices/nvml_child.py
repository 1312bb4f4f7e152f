"""The process that asks NVIDIA's driver: ``python -m syncd.devices.nvml_child FD INTERVAL_S``.

Calls to a sick driver may hang for ever, so the daemon makes none: this process does, with a thread for each card, and
whatever hangs silences only itself. It writes `frames` to FD every INTERVAL_S and ends with whoever reads them.

Exit status: 0 nobody reads any more; 69 there is nothing to ask (a frame said why); 70 a fault of its own.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
from typing import Final

import pynvml

from syncd.devices.frames import Absent, Erred, Found, Read
from syncd.devices.nvml_reading import Handle, read_card
from syncd.protocol import Message, encode_frame

EXIT_READER_GONE: Final = 0
EXIT_NOTHING_TO_ASK: Final = 69
EXIT_FAULT: Final = 70

_PR_SET_PDEATHSIG: Final = 1
LIST_INTERVAL_S: Final = 5.0
"""How often the number of cards is looked at."""
WAIT_FOR_EVENTS_MS: Final = 1000


class Line:
    """The pipe to the daemon, for all threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def say(self, message: Message) -> None:
        """Send it; without a reader this process ends."""
        frame = memoryview(encode_frame(message))
        with self._lock:
            try:
                while frame:
                    frame = frame[os.write(self._fd, frame) :]
            except OSError:
                os._exit(EXIT_READER_GONE)

    def is_read_for(self, timeout_s: float) -> bool:
        """Wait so long; False at once when nobody reads any more."""
        poller = select.poll()
        poller.register(self._fd, 0)
        return not poller.poll(timeout_s * 1000.0)


class Events:
    """The driver's own tidings (Xid), heard in a thread of their own."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._set = pynvml.nvmlEventSetCreate()
        self._index_of: dict[int | None, int] = {}
        threading.Thread(target=self._listen, name="events", daemon=True).start()

    def register(self, handle: Handle, index: int) -> None:
        """Listen for this card's too; raises `pynvml.NVMLError` where it tells of none."""
        self._index_of[_address(handle)] = index
        pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)

    def _listen(self) -> None:
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, WAIT_FOR_EVENTS_MS)
                index = self._index_of.get(_address(event.device))
                if index is None:
                    index = int(pynvml.nvmlDeviceGetIndex(event.device))
                self._line.say(Erred(index, int(event.eventData)))
            except pynvml.NVMLError_Timeout:
                continue
            except pynvml.NVMLError:
                time.sleep(WAIT_FOR_EVENTS_MS / 1000.0)  # A set without cards, a card that is lost.


def _address(handle: Handle) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


class Asker:
    """Asks for one card, again and again, in a thread of its own."""

    def __init__(self, index: int, interval_s: float, line: Line, events: Events | None) -> None:
        self._index = index
        self._interval_s = interval_s
        self._line = line
        self._events = events
        self._registered: int | None = None
        threading.Thread(target=self._run, name=f"card {index}", daemon=True).start()

    def _run(self) -> None:
        while True:
            asked_at_s = time.monotonic()
            self._line.say(self._ask(asked_at_s))
            time.sleep(max(0.0, asked_at_s + self._interval_s - time.monotonic()))

    def _ask(self, now_s: float) -> Read:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(self._index)
            self._listen_once(handle)
            return Read(self._index, now_s, read_card(handle, self._index))
        except pynvml.NVMLError as error:
            return Read(self._index, now_s, (), trouble=str(error))
        except Exception as error:  # noqa: BLE001 - one card's oddity must not end the others'
            return Read(self._index, now_s, (), trouble=f"its answer is not understood ({type(error).__name__})")

    def _listen_once(self, handle: Handle) -> None:
        address = _address(handle)
        if self._events is None or self._registered == address:
            return
        self._registered = address
        try:
            self._events.register(handle, self._index)
        except pynvml.NVMLError:
            return  # It tells of no errors; then they show in its readings alone.


def serve(line: Line, interval_s: float) -> int:
    """Ask until nobody reads any more; returns the exit status."""
    try:
        pynvml.nvmlInit()
        driver_version, count = pynvml.nvmlSystemGetDriverVersion(), pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError_LibraryNotFound:
        line.say(Absent("There is no NVIDIA driver on this machine.", for_good=True))
        return EXIT_NOTHING_TO_ASK
    except pynvml.NVMLError as error:
        line.say(Absent(f"The NVIDIA driver does not work: {error}.", for_good=False))
        return EXIT_NOTHING_TO_ASK
    if count == 0:
        line.say(Absent("The NVIDIA driver lists no card.", for_good=False))
        return EXIT_NOTHING_TO_ASK
    line.say(Found(driver_version, count))
    events = _events(line)
    asked = 0
    while True:
        for index in range(asked, count):
            Asker(index, interval_s, line, events)
        asked = max(asked, count)
        if not line.is_read_for(LIST_INTERVAL_S):
            return EXIT_READER_GONE
        count = _count_again(line, driver_version, count)


def _events(line: Line) -> Events | None:
    try:
        return Events(line)
    except pynvml.NVMLError:
        return None


def _count_again(line: Line, driver_version: str, before: int) -> int:
    """How many cards there are now; as many as before while the driver does not say."""
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return before
    if count != before:
        line.say(Found(driver_version, count))
    return count


def main() -> None:
    """Serve; ends the process with its status, also while threads hang in the driver."""
    fd, interval_s = int(sys.argv[1]), float(sys.argv[2])
    # The daemon's death is this process's: by the closed pipe, or by the kernel if that goes unheard.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(fd)
    try:
        status = serve(line, interval_s)
    except Exception as error:  # noqa: BLE001 - the last line of defence: said in a frame, and the process ends
        reason = f"The process that asks the driver broke off ({type(error).__name__}: {error})."
        line.say(Absent(reason, for_good=False))
        status = EXIT_FAULT
    os._exit(status)


if __name__ == "__main__":
    main()
