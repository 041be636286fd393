"""The Hub that HF_ENDPOINT names, from processes of their own: commands, a download that breaks off, then offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.loading import fake_hub, search
from tests.loading.fake_hub import GOOD_TOKEN, Faults

ROOT = Path(__file__).parents[2]
BREAKS_OFF = """
import sys
from intravisto_core.models.remote import download
download.RETRIES = 0
from intravisto_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Machine:
    """A machine with an empty cache, which knows the Hub and the token by its environment alone."""

    def __init__(self, home: Path, hub: fake_hub.Hub) -> None:
        self.home, self.hub = home, hub
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith(("HF_", "HUGGING"))}
        self.environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": GOOD_TOKEN}

    def run(self, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Python with these arguments, to its end; the token is searched for in all that it left."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environment | changes,
            capture_output=True,
            text=True,
            timeout=240,
        )
        search.nowhere(GOOD_TOKEN, [done.stdout, done.stderr], folder=self.home)
        return done

    def blobs(self, name: str) -> list[Path]:
        return sorted((self.home / "hub" / f"models--{name}" / "blobs").iterdir())


@pytest.fixture
def machine(tiny_llama: Path, tmp_path: Path):
    with fake_hub.running({"tiny": tiny_llama}) as hub:
        hub.gated.add("tiny")
        yield Machine(tmp_path / "home", hub)


def test_a_command_breaks_off_goes_on_and_works_offline(machine, case, tmp_path):
    hub, kept = machine.hub, case("llama").trace
    page = tmp_path / "home" / "page.json"
    asked = ["trace", tiny.PROMPT, "--model", "tiny", "--max-new-tokens", str(tiny.N_NEW)]

    hub.faults = Faults(cut_after=20_000, cuts=1)
    first = machine.run("-c", BREAKS_OFF, *asked)
    assert first.returncode == 2
    assert first.stderr.splitlines()[-1].startswith(
        "intravisto: error: tiny: model.safetensors: the download broke off after 20 kB of 121 kB."
    )
    assert "Traceback" not in first.stderr
    assert [p.stat().st_size for p in machine.blobs("tiny") if p.name.endswith(".incomplete")] == [20_000]

    hub.faults, before = Faults(), len(hub.requests)
    second = machine.run("-m", "intravisto_core", *asked, "--out", str(page))
    assert second.returncode == 0, second.stderr
    assert kept.text in second.stdout
    ranges = [h.get("Range") for _, path, h in hub.requests[before:] if "/storage/tiny/model.safetensors" in path]
    assert ranges == ["bytes=20000-"]
    assert not [p for p in machine.blobs("tiny") if p.name.endswith(".incomplete")]

    before = len(hub.requests)
    library = f"import intravisto_core as iv\nprint(iv.open_model('tiny').trace({tiny.PROMPT!r}).fingerprint)"
    third = machine.run("-c", library, HF_HUB_OFFLINE="1", HF_TOKEN="")
    assert third.returncode == 0, third.stderr
    assert len(third.stdout.strip()) == 32
    assert len(hub.requests) == before
