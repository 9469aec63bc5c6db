"""Opens pages in a headless Chromium, over the Chrome DevTools Protocol.

Every wait is bounded, and the browser ends with the ``with`` statement that started it.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tools import chromium

START_TIMEOUT, CALL_TIMEOUT, END_TIMEOUT = 60.0, 60.0, 10.0
_FLAGS = (
    "--headless",
    "--no-sandbox",  # it would need rights that containers do not give; only pages of our own are opened
    "--no-zygote",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)


class BrowserError(RuntimeError):
    """The browser did not start, did not answer in time, or a script of the page failed."""


class Page:
    """A page that is open. Everything that went wrong, and every request, is noted.

    ``complaints``: errors of the console and exceptions. ``requests``: the URLs that were asked for, in
    order; the first one is the page's own.
    """

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._socket, self._session, self._calls, self._loaded = socket, session, 0, False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        self._calls += 1
        number = self._calls
        where = {"sessionId": self._session} if self._session else {}
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters, **where}))
        until = time.monotonic() + CALL_TIMEOUT
        while True:
            answer = self._next(until, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def go(self, url: str, *, width: int, height: int, dark: bool = False) -> None:
        """Opens a URL in a window of this size, and returns when it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=url)
        until = time.monotonic() + CALL_TIMEOUT
        while not self._loaded:
            self._next(until, f"loading {url}")

    def evaluate(self, script: str) -> Any:
        """Returns the value of an expression; of a promise, what it comes to."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise BrowserError(_words(found["exceptionDetails"]))
        return found["result"].get("value")

    def until(self, condition: str, seconds: float = 30.0) -> None:
        """Waits until an expression is true. Raises BrowserError if it is not in time."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"!!({condition})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"not true in {seconds:.0f} s: {condition}")
            time.sleep(0.05)

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """Writes a picture of the page, or only of what the window shows."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole=whole))
        file.write_bytes(base64.b64decode(found["data"]))

    def _clip(self, *, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _next(self, until: float, what: str) -> dict[str, Any]:
        try:
            message: dict[str, Any] = json.loads(
                self._socket.recv(timeout=max(0.0, until - time.monotonic()))
            )
        except TimeoutError as error:
            raise BrowserError(f"the browser did not answer in time: {what}") from error
        except ConnectionClosed as error:
            raise BrowserError(f"the browser has ended: {what}") from error
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(_words(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            words = [str(value.get("value", value.get("description"))) for value in about["args"]]
            self.complaints.append(f"{about['type']}: {' '.join(words)}")
        elif event == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{about['entry']['level']}: {about['entry']['text']}")


def _words(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])


@contextmanager
def opened() -> Iterator[Page]:
    """Starts a browser with an empty profile, and gives its one page. Raises ChromiumError, BrowserError."""
    found = chromium.ensure()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        folder = Path(home)
        own = {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, **found.environment}
        log = folder / "browser.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(found.path), *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            address = _address(process, folder / "profile" / "DevToolsActivePort", log)
            with connect(address, max_size=None, open_timeout=CALL_TIMEOUT, proxy=None) as socket:
                yield _first_page(socket)
        finally:
            _end(process)


def _address(process: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) > 1:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    said = log.read_text(errors="replace")[-2_000:]
    raise BrowserError(f"Chromium did not start: {said}\n{chromium.ADVICE}")


def _first_page(socket: ClientConnection) -> Page:
    browser = Page(socket, "")
    targets = browser.call("Target.getTargets")["targetInfos"]
    target = next(target["targetId"] for target in targets if target["type"] == "page")
    attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
    return Page(socket, attached["sessionId"])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the browser with all of its processes, which are a group of their own."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_TIMEOUT)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
