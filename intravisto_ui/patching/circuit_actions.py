"""What a click on the picture of a circuit leads to: another circuit, a test, a layer, a head."""

from __future__ import annotations

import streamlit as st

from intravisto_core.engine import Engine
from intravisto_core.records import Circuit
from intravisto_core.request import Ablate, CircuitRequest
from intravisto_core.sites import Site
from intravisto_ui.parts import attention_start, circuit_start, claim_test, layer_start
from intravisto_ui.parts.variants import Variant, name_in_line
from intravisto_ui.patching import actions
from intravisto_ui.session.grid_runs import GridRun
from intravisto_ui.session.selection import Report
from intravisto_ui.session.shown import Shown
from intravisto_ui.session.workspace import Workspace

WAYS = ("test", "layer", "attention")


def take(workspace: Workspace, run: GridRun[CircuitRequest], act: Report) -> None:
    """Take what the user did on the picture, before the page is drawn again."""
    if not act or act.get("rev") != run.rev:
        return
    run.chosen = {"n": int(act["n"])}
    found: Circuit = run.read()[0]
    if act["do"] == "edit":
        kept = [part == "1" for part in str(act["kept"])]
        own = zip(found.layer.tolist(), found.head.tolist(), kept, strict=True)
        circuit_start.set_parts(workspace, run.spec, [(layer, head) for layer, head, is_kept in own if is_kept])
    if act["do"] == "edit" or (act["do"] in WAYS and act.get("part") is not None):
        run.going = dict(act)


def follow(workspace: Workspace, base: Shown, run: GridRun[CircuitRequest]) -> None:
    """Go where the last click on a button beside the picture leads.

    Raises:
        IntravistoError: why it leads nowhere.
    """
    act, run.going = run.going, None
    if act is None:
        return
    if act["do"] == "edit":
        st.rerun(scope="app")  # the fields above the picture say what was changed
    found: Circuit = run.read()[0]
    layer, head = int(found.layer[int(act["part"])]), int(found.head[int(act["part"])])
    asked = run.requests[0]
    shown = actions.run_prompt(workspace, base, asked.prompts[0][0], chat=False)
    if act["do"] == "test":
        what = Ablate(Site.MLP_OUT, layer, "prompt") if head < 0 else Ablate(Site.Z, layer, "prompt", head=head)
        lines = list_variants(base.engine, found, asked)
        claim_test.open_test(workspace, shown, [what], lines[0].target, lines[0].contrast, lines)
        return
    if shown is not base:
        workspace.show_run(shown)
    last = shown.trace.prompt_length - 1
    if act["do"] == "attention":
        attention_start.start_attention_at(workspace, layer, head, last)
        st.switch_page(attention_start.PAGE)
    layer_start.start_layer_at(workspace, shown, layer, last, None if head < 0 else head)
    st.switch_page(layer_start.PAGE)


def list_variants(engine: Engine, found: Circuit, asked: CircuitRequest) -> tuple[Variant, ...]:
    """The prompts that the circuit was measured on, each once, with their tokens."""
    listed: dict[str, Variant] = {}
    for (prompt, _), *ids in zip(asked.prompts, found.targets, found.contrasts, strict=True):
        listed.setdefault(str(prompt), Variant(str(prompt), *(name_in_line(engine, i, found.shown[i]) for i in ids)))
    return tuple(listed.values())
