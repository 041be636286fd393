"""What a notebook's completion knows of the library by its types alone, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

jedi = pytest.importorskip("jedi")  # comes with ipykernel
ROOT = Path(__file__).parents[2]
LINES = {
    "iv.": {"open_model", "open_trace", "HeatmapView", "DecodedGrid", "Apply", "Lens", "IntravistoError", "figures"},
    "iv.Lens.": {"OUTPUT", "LINEAR"},
    "iv.TraceRequest('a').": {"prompt", "interventions", "modules"},
    "iv.open_model('demo').": {"trace", "traces", "decode", "apply", "hook", "model", "find", "close"},
    "iv.open_model('demo').trace('a').": {
        "heatmap",
        "flow",
        "edit",
        "gradient",
        "saliency",
        "test",
        "module",
        "save",
        "tokens",
    },
    "iv.open_model('demo').trace('a').heatmap().": {"token_ids", "p_max", "frame", "figure", "html", "save"},
    "iv.open_model('demo').traces(['a'])[0].": {"heatmap", "logits"},
    "iv.open_model('demo').decode([1.0]).": {"token_ids", "frame"},
    "iv.open_trace('a').saliency().": {"scores", "completeness_error", "frame"},
}
# what is offered inside the brackets of a call
CALLS = {
    "iv.open_model(": {"source", "token", "report"},
    "iv.open_model('demo').traces(": {"prompts", "max_new_tokens", "interventions", "modules"},
    "iv.open_model('demo').decode(": {"x", "lens", "norm", "top_k"},
    "iv.open_trace('a').logits(": {"position", "row", "component", "lens", "norm"},
    "iv.open_trace('a').save(": {"path", "views", "activations"},
    "iv.open_trace('a').saliency(": {"target", "contrast", "position", "method", "steps", "reference"},
}


# jedi reads the whole package once, which takes some seconds
@pytest.mark.slow
def test_completion_finds_names_methods_fields_and_options() -> None:
    project = jedi.Project(str(ROOT))
    for line, expected in LINES.items():
        found = {c.name for c in jedi.Script(f"import intravisto_core as iv\n{line}", project=project).complete()}
        assert expected <= found, line
    for line, expected in CALLS.items():
        (call,) = jedi.Script(f"import intravisto_core as iv\n{line}", project=project).get_signatures()
        assert expected <= {parameter.name for parameter in call.params}, line
