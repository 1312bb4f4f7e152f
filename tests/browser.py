"""A real Chromium without a window, led over its DevTools pipe: nothing to install but the browser itself."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

DEADLINE_S: Final = 60.0
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """Where it is installed; None: nowhere."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Navigated(Exception):
    """The page made way for another before it had answered."""


class Browser:
    """One browser with one page; everything that the page asks the network for, or complains of, is kept."""

    def __init__(self, program: str, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [
            program,
            *("--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"),
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--no-default-browser-check", "about:blank"),
        ]
        # The pipe's ends must be descriptors 3 and 4 there.
        script = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = os.fdopen(ours_in, "rb", buffering=0), ours_out
        os.set_blocking(ours_in, False)
        self._pending = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", session=None, url="about:blank")["targetId"]
        self._session: str = self("Target.attachToTarget", session=None, targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        os.close(self._out)

    def __call__(self, method: str, *, session: str | None = "", **parameters: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._until(lambda heard: heard.get("id") == number, method)

    def open(self, path: Path) -> None:
        """Load a file as a double click would, and wait until it is loaded."""
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        self._until(lambda heard: heard.get("method") == "Page.loadEventFired", f"the load of {path.name}")

    def run(self, script: str) -> Any:
        """The value of an expression, once it is settled; a click's rights go with it."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Until the expression holds."""
        end_s = time.monotonic() + DEADLINE_S
        while not self._holds(script):
            assert time.monotonic() < end_s, f"it did not come to hold: {script}"
            time.sleep(0.02)

    def _holds(self, script: str) -> bool:
        """Not of a page that makes way for another at this moment."""
        try:
            return bool(self.run(script))
        except Navigated:
            return False

    def picture(self, path: Path, *, width: int = 1200) -> None:
        """A PNG of the whole page, into a file."""
        path.write_bytes(self.shot(width=width))

    def shot(self, *, width: int = 1200) -> bytes:
        """A PNG of the whole page."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.run("new Promise((done) => setTimeout(done, 200))")
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def complaints(self) -> list[str]:
        """What stands in the console as an error or a warning, violations of the page's own policy among it."""
        found = []
        for event in self.events:
            told = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(told["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning", "assert"}:
                found.append(json.dumps(told["args"]))
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
                found.append(told["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Every address that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def _until(self, is_it: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            head, separator, rest = self._pending.partition(b"\0")
            if not separator:
                chunk = self._in.read(1 << 20)
                if chunk is None:
                    time.sleep(0.002)
                    continue
                assert chunk, "the browser is gone"
                self._pending += chunk
                continue
            self._pending = rest
            heard = json.loads(head)
            if "id" not in heard:
                self.events.append(heard)
            if is_it(heard):
                if "navigated" in heard.get("error", {}).get("message", ""):
                    raise Navigated(what)
                assert "error" not in heard, (what, heard["error"])
                return dict(heard.get("result", heard))
        raise AssertionError(f"The browser did not answer in time: {what}")
