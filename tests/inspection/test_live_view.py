"""The picture of a running script, served on this machine alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from threading import Event, Thread

import pytest
import torch
from playwright.sync_api import expect
from torch import nn

import intravisto_core as iv


class Waiting(nn.Module):
    """Waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = Event(), Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.reached.set()
        self.go.wait(60)
        return x * 2


class Slow(nn.Module):
    """Its second layer waits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), Waiting(), nn.Linear(4, 4)
        self.reached, self.go = self.second.reached, self.second.go

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x)))


def get(url: str, host: str = "") -> str:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    return urllib.request.urlopen(request, timeout=10).read().decode()


def test_the_page_its_data_and_what_ran_are_served_to_this_machine_alone() -> None:
    module = Slow()
    module.go.set()
    inspector = iv.Inspector(module)
    with inspector.serve() as live:
        assert live.url == f"http://127.0.0.1:{live.port}/"
        assert "connect-src 'self'" in get(live.url)
        assert json.loads(get(live.url + "data"))["run"] is None
        inspector.forward(torch.randn(2, 4))
        assert json.loads(get(live.url + "data"))["run"]["ran"] == 4
        state = json.loads(get(live.url + "state?since=2"))
        assert (state["runs"], state["from"], state["n"]) == (1, 2, 8)
        assert state["events"][-1] == ["", True]
        for url, host in ((live.url + "etc/passwd", ""), (live.url, "evil.example")):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(url, host)
        with pytest.raises(iv.RequestError, match="one that nothing listens on"):
            iv.Inspector(module).serve(live.port)
    with pytest.raises(urllib.error.URLError):
        get(live.url)
    with pytest.raises(iv.RequestError, match="whole number from 0 to 65535"):
        inspector.serve(70_000)


@pytest.mark.browser
def test_boxes_run_and_are_done_and_blocks_follow(chromium) -> None:
    module = Slow()
    inspector = iv.Inspector(module)
    inspector.attach("first", "histogram")
    page = chromium.new_page()
    with inspector.serve() as live:
        page.goto(live.url)
        run = Thread(target=inspector.forward, args=(torch.randn(2, 4),))
        run.start()
        assert module.reached.wait(60)
        box = lambda path: page.locator(f'.iv-node[data-path="{path}"]')  # noqa: E731
        expect(box("first")).to_have_class("iv-node iv-leaf iv-done")
        expect(box("second")).to_have_class("iv-node iv-leaf iv-running")
        module.go.set()
        run.join(20)
        expect(box("third")).to_have_class("iv-node iv-leaf iv-done")
        expect(page.locator(".iv-link")).to_have_count(4)
        box("first").locator(".iv-name").click()
        expect(page.locator(".iv-of-histogram .iv-column")).to_have_count(40)
    page.close()
