"""The Dockerfile's own commands, run in a clean directory, since images cannot be built everywhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.processes import end_process, free_port

ROOT = Path(__file__).parents[2]
WAIT_S = 120


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) in order, continued lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def of(kind: str) -> list[str]:
    return [arguments for name, arguments in instructions() if name == kind]


def test_it_is_a_space_that_runs_as_an_ordinary_user():
    names = [name for name, _ in instructions()]
    assert of("USER") == ["user"]
    assert names.index("USER") < names.index("CMD")
    assert "--uid 1000" in of("RUN")[0]
    front = (ROOT / "README.md").read_text().split("---")[1]
    port = re.search(r"^app_port: (\d+)$", front, re.M)
    assert "sdk: docker" in front
    assert port
    assert of("EXPOSE") == [port[1]]
    assert f"PORT={port[1]}" in of("ENV")[0]


def test_models_are_cached_in_a_volume():
    assert of("VOLUME") == ["/models"]
    assert "HF_HOME=/models" in of("ENV")[0]


def test_pytorch_is_the_cpu_build_unless_asked_otherwise():
    assert of("ARG") == ["TORCH=cpu"]
    install = next(run for run in of("RUN") if "$TORCH" in run)
    assert install.startswith('if [ "$TORCH" = cpu ]')
    assert "grep '^torch=='" in install
    assert re.search(r"^torch==\S+$", (ROOT / "requirements.txt").read_text(), re.M)


def copied(target: Path) -> Path:
    """What COPY brings: the tracked files, less those that .dockerignore leaves out."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ignored = {line.strip("/") for line in (ROOT / ".dockerignore").read_text().split()}
    for name in listed.split("\0"):
        if name and name.split("/")[0] not in ignored and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose `pip` and `streamlit` are those of a fresh virtual environment.

    It sees the packages of this one, so that installing the pinned ones changes nothing if the pins are right.
    """
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", purelib], capture_output=True, text=True, check=True).stdout.strip()
    here = subprocess.run([sys.executable, "-c", purelib], capture_output=True, text=True, check=True).stdout.strip()
    (Path(site) / "outer.pth").write_text(here)
    script = folder / "bin" / "streamlit"
    script.write_text(f"#!{python}\nimport sys\nfrom streamlit.web.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(folder)}


def test_the_install_command_works_and_needs_nothing_more(environment, tmp_path):
    command = next(run for run in of("RUN") if run.startswith("pip install"))
    shutil.copy2(ROOT / "requirements.txt", tmp_path)
    done = subprocess.run(
        ["sh", "-c", f"{command} --dry-run --no-deps"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Would install" not in done.stdout


def test_the_start_command_serves_the_app_and_is_healthy(environment, tmp_path):
    port = free_port()
    command = json.loads(of("CMD")[0])
    env = {**environment, "PORT": str(port), "HF_HOME": str(tmp_path / "models")}
    with subprocess.Popen(
        command, cwd=copied(tmp_path), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as app:
        try:
            check = shlex.split(of("HEALTHCHECK")[0].split("CMD ", 1)[1])
            deadline = time.monotonic() + WAIT_S
            while subprocess.run(check, env=env, capture_output=True).returncode:
                assert app.poll() is None, app.stdout.read().decode()
                assert time.monotonic() < deadline, "the app is not healthy"
                time.sleep(0.5)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                assert b"<title>Streamlit" in page.read()
        finally:
            end_process(app)
