"""Whether an edit fits the model and the text that are shown, told before it is run."""

from __future__ import annotations

from intravisto_core.errors import IntravistoError, RequestError, expected
from intravisto_core.records import ModelCard
from intravisto_core.request import Apply, Intervention, Patch, Replace, ReplaceMain, TensorRef
from intravisto_core.request.positions import resolve
from intravisto_core.request.ranges import index
from intravisto_core.sites import BlockKind, Site
from intravisto_ui.parts import edit_sources
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.tokenizing import tokenize


def check(what: Intervention, shown: Shown) -> None:
    """Refuse what the run would refuse, as far as that can be said without one.

    Raises:
        RequestError: a layer, head, neuron or position out of range, with the range; a site that this model lacks.
    """
    model, trace = shown.engine.model, shown.trace
    if isinstance(what, Apply):
        raise RequestError("Apply: expected an edit that can be written down; a function cannot. Use it in Python")
    _check_layer(what.layer, model.n_layers, "layer")
    _check_site(what, model)
    acted_on: tuple[int, ...] = ()
    for name in ("positions", "queries", "keys"):
        if (spots := getattr(what, name, None)) is not None:
            found = resolve(spots, trace.prompt_length, len(trace.tokens), name)
            acted_on = acted_on or found
    _check_parts(what, model)
    _check_directions(what, model)
    if isinstance(what, Patch):
        _check_source(what, shown, len(acted_on))
    if isinstance(what, Replace | ReplaceMain):
        _check_token(what.token, shown)


def describe_misfit(what: Intervention, shown: Shown) -> str:
    """Why an edit does not fit, "" where it does."""
    try:
        check(what, shown)
    except IntravistoError as error:
        return str(error)
    return ""


def _check_layer(value: int, n_layers: int, name: str) -> None:
    """The same range as the run's, in the words of a form."""
    try:
        index(value, n_layers, name)
    except RequestError:
        raise RequestError(expected(name, f"0 to {n_layers - 1}, or negative from the end", value)) from None


def _check_site(what: Intervention, model: ModelCard) -> None:
    if what.site is Site.RESID_MID and model.block == BlockKind.PARALLEL:
        raise RequestError("resid_mid: a parallel block adds attention and MLP at once and has none")
    needed = None if what.site is None else what.site.edit_capability
    found = None if needed is None else model.capabilities.get(needed)
    if found is not None and not (found.ok or found.pending):
        raise RequestError(f"{what.site}: expected a model whose {needed} were found; {found.reason}")


def _check_parts(what: Intervention, model: ModelCard) -> None:
    heads = getattr(what, "heads", None)
    listed = [] if heads is None or isinstance(heads, str) else list(heads)
    listed += [head] if (head := getattr(what, "head", None)) is not None else []
    for each in listed:
        index(each, model.n_heads, "head")
    neuron = getattr(what, "neuron", None)
    if neuron is None:
        return
    if isinstance(neuron, tuple) != (model.d_mlp == 0):
        wanted = "(expert, neuron)" if model.d_mlp == 0 else f"0 to {model.d_mlp - 1}: this model has no experts"
        raise RequestError(expected("neuron", wanted, neuron))
    if model.d_mlp:
        index(neuron, model.d_mlp, "neuron", negatives=False)


def _check_directions(what: Intervention, model: ModelCard) -> None:
    for name in ("direction", "source", "target"):
        value = getattr(what, name, None)
        if not isinstance(value, TensorRef):
            continue
        if value.content is None:
            raise RequestError(f"{name}: expected the numbers of “{value.name}”; the file had none. Make it again")
        if value.shape != (model.d_model,):
            raise RequestError(expected(name, f"{model.d_model} numbers, the width of the stream", value.shape))


def _check_token(text: str, shown: Shown) -> None:
    if not tokenize(shown.engine, text, add_special_tokens=False):
        raise RequestError(f"token: expected a text of at least one token; got {text!r}")


def _check_source(what: Patch, shown: Shown, count: int) -> None:
    """Positions on the other prompt; a chat's markers are only known to its run."""
    if what.source_layer is not None:
        _check_layer(what.source_layer, shown.engine.model.n_layers, "layer of the other prompt")
    prompt, given = edit_sources.source_prompt(what), what.source_positions
    if prompt is None or shown.request.chat:
        return
    n = len(tokenize(shown.engine, prompt, add_special_tokens=shown.request.add_special_tokens))
    name = "tokens of the other prompt" if given is not None else "tokens, at the same places of the other prompt"
    chosen = resolve(what.positions if given is None else given, n, n, name)
    if what.positions == "all" and given is None:
        return
    if len(chosen) not in (1, count):
        raise RequestError(expected(name, f"{count} positions, or one for all", f"{len(chosen)} positions"))
