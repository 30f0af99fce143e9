"""A real browser that tests type and click in: Chromium without a window, told what to do through a pipe.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60  # seconds


def program() -> str | None:
    """The browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """A tab of a browser.

    Attributes:
      complaints: what its console and its errors said.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser, self.from_browser = to_browser, os.fdopen(from_browser, "rb")
        self.number, self.session, self.rest = 0, "", b""
        self.complaints: list[str] = []
        self.loaded = False

    def tell(self, method: str, **parameters: Any) -> Any:
        """Does one thing, and returns what came of it."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> Any:
        while b"\0" not in self.rest:
            read = self.from_browser.read1(1 << 20)
            assert read, "the browser has ended"
            self.rest += read
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)

    def _note(self, event: Any) -> None:
        method = event.get("method")
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(event["params"]))
        self.loaded = self.loaded or method == "Page.loadEventFired"

    def open(self, address: str) -> None:
        """Loads a page, and waits until it is there."""
        self.loaded = False
        self.tell("Page.navigate", url=address)
        while not self.loaded:
            self._note(self._next())

    def run(self, code: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        found = self.tell("Runtime.evaluate", expression=code, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key of the keyboard, by its name in JavaScript."""
        text = {"text": key} if len(key) == 1 else {}
        self.tell("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.tell("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        """Text into whatever has the focus."""
        self.tell("Input.insertText", text=text)

    def click(self, selector: str, count: int = 1) -> None:
        """The mouse in the middle of an element, which is scrolled to; `count` 2 is the second of a double click."""
        found = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'nearest'}); const {x, y, width, height} = one.getBoundingClientRect();"
            " return [x + width / 2, y + height / 2]; })()"
        )
        where = {"x": found[0], "y": found[1], "button": "left", "clickCount": count}
        self.tell("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.tell("Input.dispatchMouseEvent", type="mouseReleased", **where)

    def resize(self, width: int, height: int = 844) -> None:
        """The size of the page, in CSS pixels; a narrow one is a phone's."""
        self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def drawn(self, path: Path) -> None:
        """What is seen of the page, as PNG."""
        path.write_bytes(base64.b64decode(self.tell("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def opened(browser: str, folder: Path) -> Iterator[Page]:
    """A browser with an empty tab.

    Args:
      folder: of its profile, and of what it downloads.
    """
    theirs, ours = os.pipe()
    heard, said = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "--no-first-run"]
    command = ["bash", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{said}', browser, *options]
    process = subprocess.Popen(command, pass_fds=(theirs, said), stderr=subprocess.DEVNULL)
    os.close(theirs)
    os.close(said)
    page = Page(ours, heard)
    try:
        page.tell("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        target = page.tell("Target.createTarget", url="about:blank")["targetId"]
        page.session = page.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            page.tell(f"{domain}.enable")
        yield page
    finally:
        page.session = ""
        with contextlib.suppress(OSError, AssertionError):
            page.tell("Browser.close")
        os.close(ours)
        page.from_browser.close()
        process.wait(PATIENCE)


def downloaded(path: Path) -> bytes:
    """The content of a file that a browser is about to save."""
    until = time.monotonic() + PATIENCE
    while not path.is_file():
        assert time.monotonic() < until, f"{path} was not saved"
        time.sleep(0.02)
    return path.read_bytes()
