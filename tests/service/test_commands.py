"""Every command works on a model of a service."""

from __future__ import annotations

from pathlib import Path

import pytest

from intravisto_core.cli import main

TEXT = "ab c!ab"
COMMANDS: dict[str, list[str]] = {
    "trace": [TEXT, "--max-new-tokens", "2"],
    "flow": [TEXT],
    "attribute": [TEXT, "--by", "heads"],
    "explain": [TEXT],
    "saliency": [TEXT, "--method", "integrated_gradients"],
    "attention": [TEXT, "--layers", "1"],
    "layer": [TEXT, "--layers", "1"],
    "edit": [TEXT, "--ablate", "mlp_out:1:-1"],
    "patch": ["--clean", TEXT, "--corrupt", "cb c!ab"],
    "test": [TEXT, "--ablate", "mlp_out:1:-1", "--draws", "5"],
    "circuit": ["pairs.tsv"],
    "measures": ["--prompts", "prompts.txt", "--draws", "2"],
    "save": [TEXT, "--out", "run.intravisto"],
    "inspect": [],
    "check": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_asks_a_service(command, service, tmp_path, monkeypatch, capsys):
    (tmp_path / "pairs.tsv").write_text(f"{TEXT}\tcb c!ab\nab!cab\tcb!cab\n")
    (tmp_path / "prompts.txt").write_text(f"{TEXT}\nab!cab\n")
    monkeypatch.chdir(tmp_path)
    model = ["llama"] if command in ("inspect", "check") else ["--model", "llama"]
    # the claim is not supported, which its status says
    status = 1 if command == "test" else 0
    assert main([command, *COMMANDS[command], *model, "--engine", service]) == status
    told = capsys.readouterr()
    assert told.out.strip()
    assert "Traceback" not in told.err
    assert command != "save" or Path("run.intravisto").stat().st_size
