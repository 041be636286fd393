"""Every command works on a model of a service."""

from __future__ import annotations

from pathlib import Path

import pytest

import intravisto_core as iv
from intravisto_core.cli import app, main
from intravisto_core.engine.connecting import connect
from tests.processes import free_port
from tests.service.serving import serving

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


@pytest.mark.parametrize("command", ["inspect", "check"])
def test_a_service_of_one_model_needs_no_name(command, tiny_llama, capsys):
    assert main([command]) == 2
    assert f"{command}: expected a model" in capsys.readouterr().err
    with serving({"only": iv.ModelSpec(str(tiny_llama))}) as url:
        assert main([command, "--engine", url]) == 0
    assert "llama" in capsys.readouterr().out.lower()


def test_the_app_is_started_with_a_service(service, monkeypatch):
    called = []
    monkeypatch.setattr(app.subprocess, "call", lambda command, cwd, env: called.append(env) or 0)
    assert main(["app", "--engine", service]) == 0
    assert called[0]["INTRAVISTO_ENGINE"] == service
    assert main(["app", "--engine", "nowhere"]) == 2
    assert len(called) == 1


def test_who_waits_for_a_service_is_told_so(monkeypatch, capsys):
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(iv, "connect", lambda url, model: connect(url, model, patience=0.1))
    assert main(["trace", TEXT, "--engine", nowhere]) == 2
    note, error = capsys.readouterr().err.splitlines()
    assert note == f"note: nobody answers at {nowhere} yet; it is asked again for 60 s"
    assert "expected a service that answers" in error


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
