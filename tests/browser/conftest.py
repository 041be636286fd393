"""The app as it is started by hand, and pages of it in Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.processes import end_process, free_port

ROOT = Path(__file__).parents[2]
START_S = 180
PATIENCE_MS = 120_000
expect.set_options(timeout=PATIENCE_MS)
WIDE, NARROW = (1440, 900), (1024, 768)


@pytest.fixture(scope="session")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running app; one for all browser tests."""
    with app_running(free_port(), tmp_path_factory.mktemp("server") / "log.txt") as address:
        yield address


def start_app(port: int, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The app as it is started by hand, on this machine alone, with more variables in its environment."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    given = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=given)
    wait_for(process, f"http://127.0.0.1:{port}/_stcore/health", log)
    return process


@contextmanager
def app_running(port: int, log: Path, **environment: str) -> Iterator[str]:
    """Address of the app, there as long as the context is; see `start_app`."""
    process = start_app(port, log, **environment)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        end_process(process)


def wait_for(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Until the server answers, or it ended, or it takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if urllib.request.urlopen(address, timeout=1).status == 200:
                return
        except OSError:
            time.sleep(0.05)
    process.kill()
    pytest.fail(f"the app did not start:\n{log.read_text()}")


# notes when a page last asked the server for something, and when it last heard from it
LISTENING = """
window.__heard = { asked: 0, told: 0 };
window.WebSocket = class extends WebSocket {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", () => (window.__heard.told = performance.now()));
  }
  send(what) {
    window.__heard.asked = performance.now();
    super.send(what);
  }
};
"""
# the script's state turns to "running" only when the server has heard of an act: until then it says nothing. A question
# about a part that is gone by then has no answer at all
ANSWERED = """async () => {
  const NO_ANSWER = 1500;
  const isAnswered = () => {
    const { asked, told } = window.__heard;
    const app = document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]");
    const idle = app && document.querySelector(".st-key-run button");
    return idle && (told >= asked || performance.now() - asked > NO_ANSWER);
  };
  const { asked } = window.__heard;
  if (!isAnswered()) return false;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return isAnswered() && window.__heard.asked === asked;
}"""


class Visit:
    """One browser window of one user on the app.

    said: errors of the page's scripts, and whatever the page's own security policy had to refuse.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.said: list[str] = []
        self.outside: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("console", lambda message: self._note_refusal(message.text))
        page.on("request", lambda request: self._note(request.url))
        page.add_init_script(LISTENING)
        page.goto(address)

    def _note_refusal(self, text: str) -> None:
        if "Content Security Policy" in text or "Permissions-Policy" in text:
            self.said.append(text)

    def _note(self, url: str) -> None:
        if not re.match(r"(https?|wss?)://127\.0\.0\.1|data:|blob:", url):
            self.outside.append(url)

    def wear(self, dark: bool) -> Visit:
        """Until the page shows the other theme, as when the reader's system turns to it."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        ground = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        self.page.wait_for_function(f"(dark) => ({ground}.match(/\\d+/)[0] < 128) === dark", arg=dark)
        return self.idle()

    def resize(self, size: tuple[int, int]) -> Visit:
        """Another size of the window."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        return self.idle()

    def ready(self) -> Visit:
        """Until there is a picture and nothing runs."""
        self.page.wait_for_selector(".iv-cell")
        return self.idle()

    def idle(self) -> Visit:
        """Until the last act has been answered and drawn."""
        self.page.wait_for_function(ANSWERED)
        return self

    def cell(self, row: int, position: int) -> Any:
        """The cell of a heatmap row and a position of the text, by what it tells a screen reader."""
        name = self.row_name(row)
        return self.page.locator(f'[role=gridcell][aria-label^="{name}, position {position}:"]')

    def row_name(self, row: int) -> str:
        return {0: "embeddings", 7: "final norm"}.get(row, f"layer {row - 1}")

    def title(self) -> Any:
        """The heading of the panel of the selected cell."""
        return self.page.locator(".st-key-detail .title")

    def type_prompt(self, text: str) -> Visit:
        """Type another prompt over the old one, and wait until the page has taken it over."""
        field = self.page.locator(".st-key-prompt textarea")
        field.fill(text)
        field.press("Tab")
        self.page.wait_for_selector(".status.stale")
        return self.idle()

    def type_model(self, text: str) -> Visit:
        """Type another model into the box, as a person does."""
        field = self.page.locator(".st-key-model input")
        field.click()
        field.fill(text)
        field.press("Enter")
        return self

    def open_model(self, path: Path) -> Visit:
        """Open the real model by its path."""
        self.type_model(str(path))
        self.page.locator(".badges", has_text="30 layers").wait_for()
        return self.idle()

    def run(self) -> Visit:
        self.page.locator(".st-key-run button").click()
        self.page.wait_for_selector(".status.done, .st-key-problem")
        return self.idle()


@pytest.fixture(scope="session")
def windows(chromium: Any) -> Iterator[Any]:
    """One browser profile for all tests, so that Streamlit's own scripts are loaded once."""
    context = chromium.new_context()
    # what one window did with the sidebar is nothing that the next one begins with
    context.add_init_script("try { localStorage.clear(); } catch { /* a page without storage */ }")
    yield context
    context.close()


@pytest.fixture
def visit(windows: Any, server: str) -> Iterator[Callable[..., Visit]]:
    """Opens the app in a window of its own, as a new user: `visit(size=NARROW, dark=True, path="model")`."""
    opened = []

    def one(size: tuple[int, int] = WIDE, dark: bool = False, path: str = "") -> Visit:
        page = windows.new_page()
        opened.append(page)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme="dark" if dark else "light")
        return Visit(page, server + path)

    yield one
    for page in opened:
        page.close()
