"""A process that is killed while it writes: the file is whole, the one before or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from intravisto_core import files
from intravisto_core.files import write_file

ROOT = Path(__file__).parents[2]
SIZE = 4_000_000
WAIT_S = 120
WRITES = """
import itertools, sys
from intravisto_core.files import write_file
for content in itertools.cycle((b"a" * {size}, b"b" * {size})):
    write_file(sys.argv[1], content)
    print("written", flush=True)
"""
SAVES = """
import sys
import intravisto_core as iv
grid = iv.open_model("demo").trace("Q: What is the capital of Italy? A:").heatmap()
print("drawing", flush=True)
while True:
    grid.save(sys.argv[1])
"""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


def started(program: str, file: Path) -> subprocess.Popen[str]:
    """A process that has said its first line."""
    process = subprocess.Popen([sys.executable, "-c", program, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(WAIT_S)


@pytest.mark.parametrize("after_s", [0.0, 0.003, 0.01, 0.02, 0.04])
def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path, after_s: float) -> None:
    page = tmp_path / "page.html"
    process = started(WRITES.format(size=SIZE), page)
    time.sleep(after_s)
    killed(process)
    found = page.read_bytes()
    assert len(found) == SIZE
    assert len(set(found)) == 1
    assert write_file(page, b"the next one").read_bytes() == b"the next one"


def test_what_a_killed_writer_left_is_cleared_later(tmp_path: Path) -> None:
    page, other = tmp_path / "page.html", tmp_path / ".other.html.abc.part"
    left, new = tmp_path / ".page.html.abc.part", tmp_path / ".page.html.def.part"
    for file in (left, new, other):
        file.write_bytes(b"half")
    long_ago = time.time() - 2 * files.LEFT_OVER_S
    for file in (left, other):
        os.utime(file, (long_ago, long_ago))
    write_file(page, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([page, new, other]), "one that may still be written stays, and others'"


def test_a_picture_whose_program_is_killed_leaves_the_old_one_and_no_browser(chromium: object, tmp_path: Path) -> None:
    picture = tmp_path / "picture.pdf"
    picture.write_bytes(b"the old one")
    process = started(SAVES, picture)
    me, browsers = psutil.Process(process.pid), []
    deadline = time.monotonic() + WAIT_S
    while not browsers and time.monotonic() < deadline:
        browsers = me.children(recursive=True)
        time.sleep(0.01)
    killed(process)
    assert browsers, "it is drawn by a browser"
    assert picture.read_bytes() == b"the old one" or picture.read_bytes().startswith(b"%PDF")
    gone, alive = psutil.wait_procs(browsers, timeout=WAIT_S / 4)
    for each in alive:
        each.kill()
    assert not alive, f"{len(alive)} of {len(gone) + len(alive)} processes of the browser outlive their program"
    assert not [file for file in tmp_path.iterdir() if file != picture and file.suffix != files.BESIDE]
