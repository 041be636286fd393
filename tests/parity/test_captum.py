"""Saliency beside captum: integrated gradients and input × gradient of the same model through plain transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import intravisto_core as iv
from intravisto_core.demo import MODEL_FOLDER

captum = pytest.importorskip("captum.attr")
PROMPT = "Q: What is the capital of Italy? A:"


@pytest.fixture(scope="module")
def trace() -> Iterator[Any]:
    engine = iv.open_model("demo")
    yield engine.trace(PROMPT)
    engine.close()


@pytest.fixture(scope="module")
def network() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32, attn_implementation="eager").eval()


def asked(network: Any, trace: Any) -> tuple[Any, Tensor, int, int]:
    """Embeddings to the logit difference, the text's embeddings, and the two tokens."""
    target, contrast = (int(trace.engine.tokenize(text, False)[0].id) for text in (" Rome", " Paris"))

    def metric(embeddings: Tensor) -> Tensor:
        logits = network(inputs_embeds=embeddings).logits[:, -1]
        return logits[:, target] - logits[:, contrast]

    ids = torch.tensor([[token.id for token in trace.tokens]])
    return metric, network.get_input_embeddings()(ids).detach(), target, contrast


def test_input_times_gradient(trace, network):
    metric, e, target, contrast = asked(network, trace)
    theirs = captum.InputXGradient(metric).attribute(e.requires_grad_()).sum(-1)[0].detach().numpy()
    ours = trace.saliency(target, contrast).scores
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_integrated_gradients(trace, network, reference):
    metric, e, target, contrast = asked(network, trace)
    found = trace.saliency(target, contrast, method="integrated_gradients", reference=reference, steps=64)
    table = network.get_input_embeddings().weight.detach()
    blank = table.double().mean(0).float() if reference == "mean" else torch.zeros(table.shape[1])
    start = torch.where(torch.from_numpy(found.held)[None, :, None], e, blank)
    theirs = captum.IntegratedGradients(metric).attribute(
        e, start, method="riemann_middle", n_steps=found.steps, internal_batch_size=16
    )
    theirs = theirs.sum(-1)[0].detach().numpy()
    np.testing.assert_allclose(found.scores, theirs, atol=2e-4 * np.abs(theirs).max())
