"""The app behind nginx as `deploy/nginx.conf` has it: TLS, a public server, and another site that shows it."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Visit, app_running
from tests.processes import end_process, free_port

pytestmark = pytest.mark.browser
CONFIG = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
# what a machine has in its nginx.conf around a file of conf.d; the folders are the test's own
AROUND = """\
daemon off;
pid {folder}/pid;
error_log {folder}/errors.log;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


@dataclass(frozen=True)
class Places:
    """Where things listen: nginx with and without TLS, the app behind it, and another site."""

    tls: int
    plain: int
    app: int
    other: int
    log: Path

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.tls}/"


def site(places: Places, folder: Path) -> str:
    """The configuration with the ports, certificate and log of a test, each of which must be there to be changed."""
    text = CONFIG.read_text(encoding="utf-8")
    changes = (
        (r"    listen \[::\]:(80|443 ssl http2);\n", "", 2),
        (r"listen 80;", f"listen 127.0.0.1:{places.plain};", 1),
        (r"listen 443 ssl", f"listen 127.0.0.1:{places.tls} ssl", 1),
        (r"https://\$host\$request_uri", f"https://$host:{places.tls}$request_uri", 1),
        (r"server_name intravisto\.example\.org;", "server_name 127.0.0.1;", 2),
        (r"/etc/letsencrypt/live/intravisto\.example\.org/fullchain\.pem", f"{folder}/certificate.pem", 1),
        (r"/etc/letsencrypt/live/intravisto\.example\.org/privkey\.pem", f"{folder}/key.pem", 1),
        (r"/var/log/nginx/intravisto\.log", str(places.log), 1),
        (r"127\.0\.0\.1:8501", f"127.0.0.1:{places.app}", 3),
    )
    for pattern, replacement, times in changes:
        text, found = re.subn(pattern, replacement.replace("\\", "\\\\"), text)
        assert found == times, pattern
    return text


def certify(folder: Path) -> None:
    """A certificate that the test signs itself."""
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"]
    made = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run([str(part) for part in made], check=True, capture_output=True)


class OtherSite(http.server.BaseHTTPRequestHandler):
    """A page of another site, with whatever it is asked for in a frame."""

    def do_GET(self) -> None:
        address = self.path.removeprefix("/?")
        page = f'<!doctype html><iframe src="{address}" width="1300" height="850"></iframe>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def places(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    if NGINX is None or OPENSSL is None:
        pytest.skip("nginx and openssl are needed to try the configuration (apt-get install nginx-light openssl)")
    folder = tmp_path_factory.mktemp("nginx")
    found = Places(free_port(), free_port(), free_port(), free_port(), folder / "access.log")
    certify(folder)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, site=site(found, folder)), encoding="utf-8")
    other = http.server.ThreadingHTTPServer(("127.0.0.1", found.other), OtherSite)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    public = {
        "INTRAVISTO_PUBLIC": "1",
        "INTRAVISTO_FRAME_ANCESTORS": f"http://localhost:{found.other}",
        # as the Dockerfile has it in a Space
        "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false",
    }
    command = [NGINX, "-e", str(folder / "errors.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with app_running(found.app, folder / "app.txt", **public):
        proxy = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            wait_for_proxy(proxy, found)
            yield found
        finally:
            end_process(proxy)
            other.shutdown()
            other.server_close()


def wait_for_proxy(proxy: subprocess.Popen[bytes], places: Places) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and proxy.poll() is None:
        try:
            asked(places.address + "_stcore/health")
            return
        except urllib.error.URLError:
            time.sleep(0.05)
    pytest.fail(f"nginx did not start: {proxy.stderr.read().decode() if proxy.poll() is not None else 'no answer'}")


def asked(address: str, method: str = "GET", body: bytes | None = None) -> Any:
    """The answer to one request; its certificate is the test's own."""
    request = urllib.request.Request(address, method=method, data=body)
    return urllib.request.urlopen(request, timeout=20, context=ssl._create_unverified_context())


@pytest.fixture
def behind(chromium: Any, places: Places) -> Iterator[Visit]:
    """The app in Chromium, by way of nginx."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    yield Visit(page, places.address)
    context.close()


def test_headers_are_set_once_and_metrics_are_closed(places: Places) -> None:
    with asked(places.address) as page:
        for name in (
            "Content-Security-Policy",
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Permissions-Policy",
            "Strict-Transport-Security",
        ):
            assert len(page.headers.get_all(name, [])) == 1, name
        assert f"frame-ancestors 'self' http://localhost:{places.other}" in page.headers["Content-Security-Policy"]
        assert "/" not in page.headers["Server"], "no version is told"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(places.address + "_stcore/metrics")
    with pytest.raises(urllib.error.HTTPError, match="413"):
        asked(places.address + "_stcore/upload_file/session/file", "PUT", bytes(3 << 20))


def test_plain_http_leads_to_tls(places: Places) -> None:
    with asked(f"http://127.0.0.1:{places.plain}/flow?row=3") as page:
        assert page.url == f"{places.address}flow?row=3"


def test_the_app_works(behind: Visit, tmp_path: Path) -> None:
    """The WebSocket carries a run, a picture reports a click, a chart is drawn, a file is downloaded."""
    behind.ready().type_prompt("Monday Tuesday").run()
    behind.cell(3, 1).click()
    expect(behind.title()).to_have_text("layer 2 · position 1")
    behind.idle()
    behind.page.get_by_role("button", name="Export", exact=True).click()
    with behind.page.expect_download() as waiting:
        behind.page.locator(".st-key-export_heatmap_json button").first.click()
    assert json.loads(Path(waiting.value.path()).read_text("utf-8"))
    behind.page.keyboard.press("Escape")
    for name, drawn in (("Flow", "rect.iv-node"), ("About this model", "table.facts")):
        behind.page.get_by_role("link", name=name, exact=True).click()
        expect(behind.page.locator(drawn).first).to_be_visible()
        behind.idle()
    assert not behind.said
    assert not behind.outside


def test_the_log_of_the_proxy_holds_no_key_of_a_workspace(behind: Visit, places: Places) -> None:
    behind.ready()
    key = re.search(r"w=([\w-]+)", behind.page.url)
    assert key
    asked(f"{places.address}flow?w={key[1]}").close()
    written = places.log.read_text()
    assert "/flow" in written
    assert key[1] not in written


def test_a_page_that_is_allowed_to_shows_it_in_a_frame(chromium: Any, places: Places, tmp_path: Path) -> None:
    """As huggingface.co shows a Space: from another site, without its cookies. A file can be uploaded all the same."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status == 429 else None)
    page.goto(f"http://localhost:{places.other}/?{places.address}injection")
    frame = page.frame_locator("iframe")
    expect(frame.locator(".st-key-edit_form")).to_be_visible()
    frame.locator(".st-key-edits_file button").first.click()
    stack = tmp_path / "stack.json"
    stack.write_text("[]")
    with page.expect_response(re.compile("upload_file")) as waiting:
        frame.locator(".st-key-edits_load input[type=file]").first.set_input_files(stack)
    assert waiting.value.status == 204
    assert not refused, "one visit stays within the limits of the proxy"
    context.close()


def test_another_page_does_not(chromium: Any, server: str, places: Places) -> None:
    context = chromium.new_context()
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(f"http://localhost:{places.other}/?{server}")
    expect(page.frame_locator("iframe").locator("[data-testid=stApp]")).to_have_count(0)
    context.close()
