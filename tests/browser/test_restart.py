"""A server that is killed while it runs something, and started anew: the same address brings everything back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Visit, wait_for
from tests.processes import free_port

pytestmark = pytest.mark.browser
PROMPT = "The language spoken in Madrid is"


class Server:
    """An app that can be killed and started again at its port."""

    def __init__(self, home: Path, log: Path) -> None:
        self.port, self.home, self.log = free_port(), home, log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
        command += ["--server.port", str(self.port), "--server.address", "127.0.0.1"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "INTRAVISTO_HOME": str(self.home)}
        with self.log.open("a") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment)
        wait_for(self.process, self.address + "_stcore/health", self.log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)


@pytest.fixture
def server_of_ours(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "home", tmp_path / "log.txt")
    found.start()
    yield found
    found.kill()


@pytest.fixture
def open_at(chromium: Any) -> Iterator[Callable[[str], Visit]]:
    opened = []

    def one(address: str) -> Visit:
        opened.append(chromium.new_context())
        return Visit(opened[-1].new_page(), address)

    yield one
    for context in opened:
        context.close()


def test_kill_9_loses_no_prompt_no_edit_and_no_history(server_of_ours: Server, open_at: Callable[[str], Visit]) -> None:
    seen = open_at(server_of_ours.address).ready()
    seen.type_prompt(PROMPT).run()
    expect(seen.page.locator(".st-key-strip")).to_contain_text("Spanish")
    # clicks on the picture before are not taken for this one's
    expect(seen.cell(0, 2)).to_contain_text("language")
    seen.cell(3, 2).click()
    expect(seen.title()).to_contain_text("layer 2 · position 2")
    seen.page.get_by_role("button", name="Ablate here").click()
    seen.page.get_by_role("button", name="Only add it").click()
    seen.page.wait_for_selector("[class*=st-key-card_]")
    seen.idle()
    seen.page.wait_for_function("() => document.location.search.includes('w=')")
    address = seen.page.url
    seen.page.locator(".st-key-run button").click()
    server_of_ours.kill()

    server_of_ours.start()
    again = open_at(address).ready()
    assert again.page.locator(".st-key-prompt textarea").input_value() == PROMPT
    assert "started anew" in again.page.locator(".st-key-notice").inner_text()
    again.page.get_by_role("button", name="Earlier runs").click()
    assert again.page.locator("[class*=st-key-before]", has_text="capital of Italy").count() == 1
    again.page.keyboard.press("Escape")
    again.page.get_by_role("link", name="Injection").click()
    again.page.wait_for_selector("[class*=st-key-card_]")
    assert again.said == []


def test_a_run_is_kept_and_opened_after_a_restart(server_of_ours: Server, open_at: Callable[[str], Visit]) -> None:
    seen = open_at(server_of_ours.address).ready()
    seen.page.get_by_role("link", name="Saved").click()
    seen.page.get_by_label("Name").fill("Italy")
    seen.page.get_by_role("button", name="Keep this run").click()
    seen.page.wait_for_selector("[class*=st-key-saved_open_]")
    server_of_ours.kill()

    server_of_ours.start()
    again = open_at(server_of_ours.address)
    again.page.wait_for_selector(".iv-cell")
    again.page.get_by_role("link", name="Saved").click()
    again.page.locator("[class*=st-key-saved_open_] button").click()
    again.page.wait_for_selector(".iv-cell")
    assert again.page.locator(".st-key-run button").count() in (0, 1)
    assert again.said == []
