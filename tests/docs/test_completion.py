"""What a notebook's completion knows of the library by its types alone, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

jedi = pytest.importorskip("jedi")  # comes with ipykernel
ROOT = Path(__file__).parents[2]
LINES = {
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
    "iv.open_trace('a').saliency().": {"scores", "completeness_error", "frame"},
}


# jedi reads the whole package once, which takes some seconds
@pytest.mark.slow
def test_completion_finds_methods_and_fields() -> None:
    project = jedi.Project(str(ROOT))
    for line, expected in LINES.items():
        found = {c.name for c in jedi.Script(f"import intravisto_core as iv\n{line}", project=project).complete()}
        assert expected <= found, line
