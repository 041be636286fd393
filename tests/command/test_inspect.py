"""`intravisto inspect`: a model, or its configuration alone."""

from __future__ import annotations

import json

import pytest

from intravisto_core.cli import main


def test_a_model_is_listed_or_drawn(tiny_llama, tmp_path, capsys) -> None:
    assert main(["inspect", str(tiny_llama)]) == 0
    said = capsys.readouterr().out
    assert "LlamaForCausalLM" in said
    assert "LlamaDecoderLayer" in said
    page = tmp_path / "arch.html"
    assert main(["inspect", str(tiny_llama), "--text", "ab", "--out", str(page)]) == 0
    assert "http" not in page.read_text("utf-8").replace("http://www.w3.org", "").replace("http-equiv", "")


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_configuration_is_enough(tiny_llama, tmp_path, capsys, place: str) -> None:
    config = tmp_path / "config.json"
    config.write_text((tiny_llama / "config.json").read_text("utf-8"), "utf-8")
    page = tmp_path / "arch.html"
    given = tmp_path if place == "folder" else config
    assert main(["inspect", str(given), "--meta", "--out", str(page)]) == 0
    assert "LlamaForCausalLM" in capsys.readouterr().out
    assert '"repeat": 3' in page.read_text("utf-8")


def test_what_is_no_configuration_is_refused(tmp_path, capsys) -> None:
    assert main(["inspect", str(tmp_path / "nothing" / "here"), "--meta"]) == 2
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "no-such-kind"}), "utf-8")
    assert main(["inspect", str(config), "--meta"]) == 2
    config.write_text("{", "utf-8")
    assert main(["inspect", str(config), "--meta"]) == 2
    said = capsys.readouterr().err
    assert "a kind of model that transformers knows" in said
    assert "expected a configuration in JSON" in said
