"""The installed package: built as a wheel, put into an environment of its own, and used from another folder."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Visit, wait_for
from tests.processes import end_process, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel; what it depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    python = environment / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return environment / "bin"


def test_every_file_beside_the_code_is_installed(installed: Path) -> None:
    (packages,) = installed.parent.glob("lib/python*/site-packages")
    beside = [
        file.relative_to(ROOT)
        for file in ROOT.glob("intravisto_*/**/*")
        if file.is_file() and file.suffix not in (".py", ".pyc", ".md") and "__pycache__" not in file.parts
    ]
    assert len(beside) > 30
    assert [file for file in beside if not (packages / file).is_file()] == []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path


def test_the_library_and_its_command_work_from_another_folder(installed: Path, elsewhere: Path) -> None:
    code = "import intravisto_core as iv; print(iv.__file__); print(iv.open_model('demo').trace('1 2 3').text)"
    done = subprocess.run(
        [installed / "python", "-c", code], cwd=elsewhere, capture_output=True, text=True, check=False
    )
    where, text = done.stdout.splitlines()
    assert Path(where).is_relative_to(installed.parent), done.stderr[-1000:]
    assert text == "1 2 3"
    page = elsewhere / "x.html"
    command = [installed / "intravisto", "trace", "1 2 3", "--out", page]
    assert subprocess.run(command, cwd=elsewhere, capture_output=True, check=False).returncode == 0
    assert page.stat().st_size > 10_000


@pytest.fixture
def address(installed: Path, elsewhere: Path) -> Iterator[str]:
    port, log = free_port(), elsewhere / "log.txt"
    command = [installed / "intravisto", "app", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=elsewhere, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    try:
        wait_for(process, f"http://127.0.0.1:{port}/_stcore/health", log)
        yield f"http://127.0.0.1:{port}/"
    finally:
        end_process(process, group=True)


@pytest.mark.browser
def test_the_app_starts_from_another_folder(chromium: Any, address: str) -> None:
    context = chromium.new_context()
    seen = Visit(context.new_page(), address).ready()
    assert seen.page.get_by_role("gridcell").count() > 20
    # the settings of the app's own folder are read: no list of files at the side, no request to anyone else
    assert seen.page.locator('[data-testid="stSidebarNavItems"]').count() == 0
    assert seen.outside == []
    assert seen.said == []
    context.close()
