"""One feature of a dictionary over the text: when it is active, what it writes (docs/methods.md §7)."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import torch

from intravisto_core.analysis.layer_readings import project
from intravisto_core.errors import RequestError, expected
from intravisto_core.models.dictionaries.dictionary import Dictionary
from intravisto_core.progress import Progress
from intravisto_core.records import FeatureCard
from intravisto_core.request import FeatureView
from intravisto_core.request.ranges import index
from intravisto_core.sites import LayerWidth
from intravisto_core.views.context import ViewContext
from intravisto_core.views.layer.asked import Asked, read_angles, read_layer
from intravisto_core.views.layer.cards import list_tokens, read_written
from intravisto_core.views.layer.features import read_map, read_place


def compute_feature(context: ViewContext, view: FeatureView) -> Generator[Progress, None, FeatureCard]:
    """One feature.

    Raises:
        RequestError: no such dictionary, layer, feature, position or token.
    """
    layer, model = read_layer(context, view.layer), context.model
    dictionary = find_dictionary(context.dictionaries, layer, view.dictionary)
    found = dictionary.layers[layer]
    feature = index(view.feature, found.coder.n_features, "feature", negatives=False)
    asked = Asked.of(context, view, LayerWidth.SIZE, needed=())
    here = slice(asked.position, asked.position + 1)
    x = read_place(model, context.data, found.reads)
    activation = found.coder.read_feature(x, feature)
    yield Progress(1, 2, "reading the feature")
    encoded = found.coder.encode(x[here])
    number = torch.tensor([feature], device=x.device)
    to_stream = read_map(context, found.writes, asked.position)
    unit = to_stream(found.coder.rows(number, encoded.acts.new_ones(1), encoded.scale))[0]
    act = float(activation[asked.position])
    active = encoded.acts[0].nonzero()[:, 0]
    sizes = to_stream(found.coder.rows(active, encoded.acts[0][active], encoded.scale)).norm(dim=-1)
    vector = unit * act
    pulls = asked.gauge.pulls(vector[None])[0]
    if act:
        written = read_written(context, layer, asked, found.site, vector, view.n, view.order)
        rank, kl, entropy = written.rank, written.kl, written.entropy
        promoted, suppressed = written.promoted, written.suppressed
    else:  # what it would write
        z = project(model, unit[None])
        scores = read_angles(context, view.order).scores(z)[0]
        n = min(view.n, len(scores))
        ends = (scores.topk(n).indices, scores.topk(n, largest=False).indices)
        promoted, suppressed = (list_tokens(model, ids, z[0][ids]) for ids in ends)
        rank, kl, entropy = int(1 + (z[0] > z[0][asked.target]).sum()), 0.0, 0.0
    yield Progress(2, 2)
    listed = {*promoted.ids.tolist(), *suppressed.ids.tolist()}
    return FeatureCard(
        trace=context.entry.id,
        model=model.name,
        tokens=context.entry.tokens,
        d_vocab=model.dimensions.d_vocab,
        dictionary=dictionary.name,
        layer=layer,
        feature=feature,
        n_features=found.coder.n_features,
        site=found.site,
        position=asked.position,
        target_id=asked.target,
        target=model.reader.shown(asked.target),
        contrast=model.reader.shown(asked.contrast),
        order=view.order,
        activation=activation.float().cpu().numpy(),
        vector=unit.float().cpu().numpy(),
        size=float(vector.norm()),
        place=int((sizes > vector.norm()).sum()) + 1 if act else 0,
        n_active=len(active),
        pull=float(pulls[0]),
        versus=float(pulls[1]),
        rank=rank,
        kl=kl,
        entropy_change=entropy,
        promoted=promoted,
        suppressed=suppressed,
        shown={i: model.reader.shown(i) for i in sorted(listed)},
        notes=asked.notes if act else (*asked.notes, INACTIVE),
    )


INACTIVE = "It is not active at this position: the lists are what it would write."


def find_dictionary(held: Mapping[str, Dictionary], layer: int, name: str | None) -> Dictionary:
    """The dictionary of that name, or the only one, which has features of a layer.

    Raises:
        RequestError: there is none, or no name says which of several.
    """
    fitting = {n: d for n, d in held.items() if layer in d.layers}
    if name is None and len(fitting) == 1:
        return next(iter(fitting.values()))
    if name in fitting:
        return fitting[name]
    if not fitting:
        raise RequestError(
            f"dictionary: expected one with features of layer {layer}; none was added. Add one: "
            "engine.add_dictionary(path)"
        )
    raise RequestError(expected("dictionary", sorted(fitting), name))
