"""Checkpoints that were saved in 8 or 4 bits, as many on the Hub are: opened as they are, and never packed again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

import intravisto_core as iv
from tests import tiny
from tests.inside import entry_of
from tests.reference.equal import assert_close

pytest.importorskip("bitsandbytes")

PROMPT = tuple(range(5, 25))
KINDS = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "int8": {"load_in_8bit": True},
}


@pytest.fixture(scope="module", params=[("Llama", "nf4"), ("GPT-2", "nf4"), ("Llama", "int8")], ids=" ".join)
def packed(request, tmp_path_factory) -> tuple[Path, Path, str]:
    """A plain folder, one that was saved packed before the model was ever used, and how."""
    family, kind = request.param
    folder = tmp_path_factory.mktemp("packed")
    plain = tiny.write(tiny.CONFIGS[family](), folder / "plain")
    how = BitsAndBytesConfig(**KINDS[kind], **({"bnb_4bit_compute_dtype": torch.float32} if kind == "nf4" else {}))
    model = AutoModelForCausalLM.from_pretrained(plain, quantization_config=how, device_map={"": "cpu"})
    model.save_pretrained(folder / "packed")
    AutoTokenizer.from_pretrained(plain).save_pretrained(folder / "packed")
    return plain, folder / "packed", kind


def test_it_is_the_model_that_is_packed_here(packed):
    plain, folder, kind = packed
    engine, other = iv.open_model(folder), iv.open_model(plain, quantisation=kind)
    for capability, found in engine.model.capabilities.items():
        assert found.ok, (capability, found.reason)
        assert found.allowed == 5e-2
    assert engine.kept_traces.model.quantisation == kind
    assert engine.model.weight_bytes == other.model.weight_bytes
    # besides the numbers there is a description of each packed matrix in the file
    assert 0 <= iv.estimate_memory(folder).weights - engine.model.weight_bytes < 0.05 * engine.model.weight_bytes
    traces = [e.trace(PROMPT, max_new_tokens=3) for e in (engine, other)]
    for site in ("resid_post", "z", "act"):
        assert_close(*(trace.activation(site, 1) for trace in traces))
    assert_close(*(trace.logits() for trace in traces))
    edited = traces[0].edit(iv.Scale("attn_out", 1, [-2], factor=2.0))
    assert (entry_of(edited).reused is None) == (kind == "int8"), "8 bits mix positions, and are run in full"
    for each in (engine, other):
        each.close()


def test_it_is_taken_as_it_is(packed, monkeypatch):
    _, folder, _ = packed
    for options in ({"quantisation": "nf4"}, {"dtype": "bfloat16"}, {"device_map": "offload"}):
        with pytest.raises(iv.ModelError, match=f"expected {next(iter(options))}.* packed.* Open it without"):
            iv.open_model(folder, **options)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(iv.MissingProgramError, match=r"these weights: expected the package bitsandbytes"):
        iv.open_model(folder)
