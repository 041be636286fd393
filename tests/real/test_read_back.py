"""Whitened vectors of the real model read back as their token (docs/methods.md §8)."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import torch

import intravisto_core as iv
from intravisto_core.progress import finish_turns
from intravisto_core.traces.whitened import make_operands
from intravisto_core.tracing.binding import Binder
from intravisto_core.tracing.operands import Text
from intravisto_core.views.context import ViewContext
from tests.inside import context_of


def read_at_once(context: ViewContext, edits: list[iv.Replace]) -> np.ndarray:
    """The top token of what each edit of one place puts there, as the view reads it, in one product."""
    model, data, new = context.model, context.data, []
    for each in edits:
        text = Text(data.prompt_length, data.length)
        made = finish_turns(make_operands(model, context.store, (each,), text, data, sources={}))
        # a report would take a product of its own
        operands = replace(made, reports=False)
        (edit,) = Binder(operands).bind((each,)).sites
        places = list(edit.places)
        new.append(edit.change(data.site(each.site, edit.layer)[places], places).float())
    return operands.reading(edits[0], edit.layer).top_tokens(model, torch.cat(new)).numpy()


def test_random_tokens_of_a_real_model_read_back(real_engine: iv.LocalEngine, eiffel: iv.Trace) -> None:
    """500 tokens at five layers; the view is asked for some of them."""
    engine, rng, context = real_engine, np.random.default_rng(0), context_of(real_engine, eiffel)
    reader = context.model.reader
    ids = [int(i) for i in rng.permutation(engine.model.d_vocab)]
    texts = ((i, reader.decode([i])) for i in ids)
    whole = ((i, text) for i, text in texts if [t.id for t in engine.tokenize(text, False)] == [i])
    tokens = list(islice(whole, 500))
    assert len(tokens) == 500
    wanted = np.array([i for i, _ in tokens])

    def put_in(layer: int, text: str, lens: str = "whitened") -> iv.Replace:
        return iv.Replace("resid_post", layer, (-1,), token=text, lens=lens)

    for layer in (0, 7, 15, 22, engine.model.n_layers - 1):
        found = read_at_once(context, [put_in(layer, text) for _, text in tokens])
        assert (found == wanted).mean() >= 0.98, layer
        for i in range(3):
            assert eiffel.read_back(put_in(layer, tokens[i][1]), top_k=1).ids[0, 0] == found[i]
    raw = read_at_once(context, [put_in(22, text, "output") for _, text in tokens[:100]])
    assert (raw == wanted[:100]).mean() < 0.5
    assert eiffel.read_back(put_in(22, tokens[0][1], "output"), top_k=1).ids[0, 0] == raw[0]
