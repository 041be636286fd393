"""The proxy's configuration, read as text; tests/browser/test_proxy.py runs the app behind it where nginx is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = re.sub(r"#.*", "", (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8"))


def values(name: str) -> list[str]:
    return re.findall(rf"^\s*{name}\s+(.*);", TEXT, re.M)


def test_it_leads_to_the_apps_port() -> None:
    (port,) = re.findall(r"^EXPOSE (\d+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert set(values("proxy_pass")) == {f"http://127.0.0.1:{port}"}


def test_it_sets_no_header_of_the_app_again() -> None:
    """Two policies hold at once, so that a second one would only refuse more."""
    assert [value.split()[0] for value in values("add_header")] == ["Strict-Transport-Security"]


def test_the_origin_that_streamlit_compares_is_passed_on() -> None:
    assert "Host $http_host" in values("proxy_set_header")


def test_no_key_of_a_workspace_is_written_down() -> None:
    (form,) = values("log_format")
    assert not re.search(r"\$(request|request_uri|args|query_string|http_referer)\b", form)
    assert values("access_log")
