"""The flow page under Streamlit's own tester: its four views, every option, and the selection that it shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit import config

import intravisto_core as iv
from intravisto_core.figures.head_list import HeadOrder
from intravisto_core.figures.numbers import change, significant
from intravisto_core.records import Check
from intravisto_core.request import LinkCheckView, Span
from intravisto_core.request.flow import GENERATED, AttributionView, DisagreementView, FlowView, GraphView, RouteView
from intravisto_core.sites import (
    AttentionDivision,
    Capability,
    Component,
    Reading,
    Refinement,
    ShareMeasure,
    SinkHandling,
)
from intravisto_ui.flow import attribution, difference, link_check, lists, options, page
from intravisto_ui.parts import frame
from intravisto_ui.parts.flow_start import FlowStart, FlowTab
from intravisto_ui.session import garbage, jobs
from intravisto_ui.session.asked import Against
from intravisto_ui.session.edit_stack import Look
from intravisto_ui.session.edit_tree import EditRun
from intravisto_ui.session.question import find_question
from tests.flow.sinking import milder_rule
from tests.pages.conftest import App

Asked = list[Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Every view that a page asked an engine for."""
    seen: Asked = []
    view = jobs.compute_view

    def noted(engine: Any, request: Any, *how: Any) -> Any:
        seen.append(request)
        return view(engine, request, *how)

    monkeypatch.setattr(jobs, "compute_view", noted)
    return seen


@pytest.fixture
def flow_page(open_app: Callable[..., App], asked: Asked) -> App:
    """The flow page on the demo model's first trace."""
    app = open_app()
    app.tester.switch_page("pages/flow.py").run()
    app.assert_calm()
    return app


def of(kind: type, asked: Asked) -> Any:
    """The last view of a kind."""
    return next(view for view in reversed(asked) if isinstance(view, kind))


def tab(app: App, name: str) -> App:
    app.tester.button_group(key="flow_tab").set_value(name).run()
    app.assert_calm()
    return app


def test_first_look_is_the_flow_of_the_selected_cell(flow_page: App, asked: Asked) -> None:
    view = of(FlowView, asked)
    n_layers = flow_page.workspace.shown.engine.model.n_layers
    assert (view.row, view.position) == (n_layers + 1, flow_page.workspace.shown.trace.prompt_length - 1)
    assert view.rows == Span(0, n_layers + 2)
    assert view.top_k == 3
    assert "intravisto_flow" in flow_page.components()
    text = flow_page.html()
    assert "not of causes" in text
    assert "largest error measured" in text
    assert "attention sink" in text.lower()
    assert not any(isinstance(v, AttributionView | GraphView | RouteView | DisagreementView) for v in asked)


def test_only_the_view_that_is_looked_at_is_computed(flow_page: App, asked: Asked) -> None:
    for name, kind, component in (
        (FlowTab.GRAPH, GraphView, "intravisto_graph"),
        (FlowTab.ATTRIBUTION, AttributionView, "intravisto_links"),
        (FlowTab.ROUTE, RouteView, "intravisto_route"),
    ):
        asked.clear()
        tab(flow_page, name)
        assert kind in {type(v) for v in asked}
        assert not any(isinstance(v, FlowView) for v in asked)
        assert component in flow_page.components()
        assert page.QUESTIONS[name] in flow_page.html().replace("&#x27;", "'")


def test_every_option_of_the_flow_draws_from_the_same_trace(flow_page: App, asked: Asked) -> None:
    app, trace = flow_page, flow_page.workspace.shown.trace.id
    for key in ("flow_start", "flow_measure", "flow_division", "flow_links", "flow_reading", "flow_other"):
        for index in range(len(app.tester.selectbox(key=key).options)):
            app.pick(key, index).assert_calm()
        app.pick(key, 0)
    assert {v.trace for v in asked} == {trace}
    assert app.workspace.run is None


def test_dress_only_draws_again(flow_page: App, asked: Asked) -> None:
    app = flow_page
    asked.clear()
    for key in ("flow_labels", "flow_canvas", "flow_text"):
        for index in range(len(app.tester.selectbox(key=key).options)):
            app.pick(key, index).assert_calm()
    app.set("slider", "flow_scale", 1.7).set("toggle", "flow_bright", False).assert_calm()
    assert not any(isinstance(v, FlowView) for v in asked)


def test_choices_go_into_the_request(flow_page: App, asked: Asked) -> None:
    app = flow_page
    app.pick("flow_measure", list(ShareMeasure).index(ShareMeasure.PROJECTION))
    app.pick("flow_division", list(AttentionDivision).index(AttentionDivision.VALUE_WEIGHTED))
    app.set("number_input", "flow_top_k", 5).set("number_input", "flow_min_mass", 2.0)
    app.set("number_input", "flow_down", 3).set("selectbox", "flow_reading", Reading.ITERATIVE)
    view = of(FlowView, asked)
    assert (view.measure, view.attention) == (ShareMeasure.PROJECTION, AttentionDivision.VALUE_WEIGHTED)
    assert (view.top_k, view.min_mass, view.reading) == (5, 0.02, Reading.ITERATIVE)
    assert view.rows == Span(4, 8)
    app.set("selectbox", "flow_links", options.LEAST).set("number_input", "flow_min_weight", 10.0)
    assert (of(FlowView, asked).top_k, of(FlowView, asked).min_weight) == (None, 0.1)
    app.set("selectbox", "flow_links", options.NO_LINKS)
    assert of(FlowView, asked).top_k == 0
    app.set("selectbox", "flow_start", FlowStart.ALL_GENERATED)
    assert of(FlowView, asked).position == GENERATED
    app.set("selectbox", "flow_start", FlowStart.LAST_POSITION)
    assert (of(FlowView, asked).row, of(FlowView, asked).position) == (None, -1)
    app.assert_calm()


def select(app: App, row: int | None, position: int | None, part: str, n: int) -> App:
    """What the picture reports when something in it is clicked."""
    rev = app.workspace.shown.trace.id
    app.workspace.select({"row": row, "position": position, "part": part, "rev": rev, "n": n})
    app.tester.run()
    app.assert_calm()
    return app


def test_a_click_in_the_picture_selects_and_does_not_move_the_start(flow_page: App, asked: Asked) -> None:
    before = of(FlowView, asked)
    asked.clear()
    select(flow_page, 4, 11, "mid.4.11", 20)
    text = flow_page.html()
    assert "layer 3 · position 11" in text
    assert "after attention" in text
    assert "of the mass" in text
    assert not any(isinstance(v, FlowView) for v in asked)
    flow_page.click("flow_from")
    assert of(FlowView, asked) != before
    assert (of(FlowView, asked).row, of(FlowView, asked).position) == (4, 11)


def test_a_cell_chosen_elsewhere_moves_the_start(flow_page: App, asked: Asked) -> None:
    select(flow_page, 3, 8, "", 20)
    assert (of(FlowView, asked).row, of(FlowView, asked).position) == (3, 8)
    select(flow_page, 0, 8, "", 21)
    assert of(FlowView, asked).row is None
    assert "embeddings have no source" in flow_page.html()
    select(flow_page, None, None, "", 22)
    assert "Nothing selected" in flow_page.html()


def test_links_have_a_panel_with_their_heads(flow_page: App, asked: Asked) -> None:
    view = of(FlowView, asked)
    flow = flow_page.workspace.kept[view]
    ids = flow.node_id
    kinds = {}
    for i in range(len(flow.link_mass)):
        kinds.setdefault((str(flow.link_kind[i]), ids[flow.link_target[i]].split(".")[0]), i)
    for n, ((kind, end), i) in enumerate(kinds.items()):
        source, target = ids[flow.link_source[i]], ids[flow.link_target[i]]
        _, row, position = lists.parse_node(target)
        select(flow_page, row, position, f"{source}>{target}", 30 + n)
        assert " link</b>" in flow_page.html()
        links = flow_page.components().count("intravisto_links")
        assert links == (2 if (kind, end) == ("attention", "attention") else 1)


def test_the_effect_of_a_checked_link_is_read_where_one_chooses(flow_page: App, asked: Asked) -> None:
    trace = flow_page.workspace.shown.trace
    select(flow_page, 5, 8, "", 20)
    select(flow_page, 4, 8, "attention.4.8>mid.4.8", 21)
    flow_page.click("check_link").assert_calm()
    view = of(LinkCheckView, asked)
    here = find_question(flow_page.workspace, flow_page.workspace.shown, 8)
    assert (view.position, view.target, view.contrast) == (8, here.target.typed, here.runner_up.typed)
    assert "after position 8" in flow_page.html()
    flow_page.set("number_input", "check_position", 11)
    flow_page.ask(target=" Rome", contrast=" Paris")
    flow_page.set("number_input", "check_n", 2).click("check_links").assert_calm()
    view = of(LinkCheckView, asked)
    assert (view.position, view.target, view.contrast) == (11, " Rome", " Paris")
    flow = flow_page.workspace.kept[of(FlowView, asked)]
    wanted = link_check.checkable(flow)
    assert view.links == tuple(wanted)[:2]
    assert list(wanted.values()) == sorted(wanted.values(), reverse=True)
    flow_page.set("number_input", "check_position", None)
    flow_page.set("selectbox", "flow_start", FlowStart.ALL_GENERATED)
    assert (
        link_check.read_effect(flow_page.workspace, flow_page.workspace.shown, GENERATED).position
        == trace.prompt_length - 1
    )


def test_a_place_that_is_not_drawn_says_so(flow_page: App) -> None:
    select(flow_page, 7, 2, "block.7.2", 20)
    assert "not part of the flow that is drawn" in flow_page.html()


def test_layers_above_the_start_are_refused_in_words(flow_page: App) -> None:
    flow_page.workspace.select({"row": 2, "position": 5, "rev": flow_page.workspace.shown.trace.id, "n": 9})
    flow_page.tester.select_slider(key="rows_6").set_value((5, 7)).run()
    assert "Move the slider down" in flow_page.html()
    assert not flow_page.tester.exception


def test_the_graph_tells_heads_of_a_step_and_parts_of_a_state(flow_page: App, asked: Asked) -> None:
    tab(flow_page, FlowTab.GRAPH)
    select(flow_page, 4, 11, "block.4.11", 20)
    assert of(AttributionView, asked).by is Refinement.HEADS
    select(flow_page, 4, 11, "block.3.6>block.4.11>attention", 21)
    assert "attention step" in flow_page.html()
    flow_page.click("graph_test").assert_calm()
    n = flow_page.workspace.base.trace.prompt_length
    assert flow_page.workspace.claim.edits == (iv.KnockOut(3, (11 - n,), (6 - n,)),)
    flow_page.set("slider", "flow_threshold", 10.0)
    assert of(GraphView, asked).threshold == 0.1
    select(flow_page, 0, 2, "block.0.2", 22)
    assert "nothing was added yet" in flow_page.html()


def test_attribution_unfolds_into_heads_and_neurons(flow_page: App, asked: Asked) -> None:
    tab(flow_page, FlowTab.ATTRIBUTION)
    flow_page.set("segmented_control", "flow_cut", Refinement.COMPONENTS)
    view = of(AttributionView, asked)
    trace = flow_page.workspace.shown.trace
    assert view.target == trace.tokens[trace.prompt_length].text
    assert view.contrast is not None
    for id, by in (("attention.3", Refinement.HEADS), ("mlp.2", Refinement.NEURONS)):
        attribution.toggle_bar(flow_page.workspace, id)
        flow_page.tester.run()
        flow_page.assert_calm()
        assert (of(AttributionView, asked).by, of(AttributionView, asked).layer) == (by, int(id[-1]))
    flow_page.set("segmented_control", f"question_against_{flow_page.workspace.asked.n}", Against.MEAN)
    assert of(AttributionView, asked).contrast is None
    flow_page.ask(target=" Paris")
    assert of(AttributionView, asked).target == " Paris"
    flow_page.ask(contrast=" Rome")
    assert of(AttributionView, asked).contrast == " Rome"
    flow_page.set("selectbox", "flow_order", "size").assert_calm()


def test_attribution_opens_with_heads_once_the_check_is_done(
    flow_page: App, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = flow_page.workspace.shown.engine.model.capabilities
    monkeypatch.setitem(found, Capability.HEADS, Check(ok=False, error=None, pending=True))
    tab(flow_page, FlowTab.ATTRIBUTION)
    assert of(AttributionView, asked).by is Refinement.COMPONENTS
    monkeypatch.undo()
    flow_page.tester.run()
    flow_page.assert_calm()
    assert flow_page.tester.session_state["flow_cut"] is Refinement.HEADS


def look_at_an_edit(app: App, look: str) -> tuple[Any, Any]:
    """An edited run beside the baseline, and the switch of runs at `look`."""
    here = app.workspace
    base = here.base.trace
    at = base.prompt_length - 1
    held = base.edit(iv.Ablate(site="attn_out", layer=2, positions=[at], how="zero"))
    here.edits.runs[1] = EditRun(1, 0, (), held=held)
    here.edits.current, here.edits.look = 1, look
    app.tester.run()
    app.assert_calm()
    return base, held


def test_the_difference_of_two_flows_is_listed_and_numbered(flow_page: App, asked: Asked) -> None:
    base, held = look_at_an_edit(flow_page, Look.DIFFERENCE)
    here = flow_page.workspace
    assert "the edited run&#x27;s flow" in flow_page.html().replace("'", "&#x27;")
    view = of(FlowView, asked)
    whole = {"min_mass": 1e-4, "details": False, "max_nodes": None, "max_links": None}
    flows = [trace.flow(None, base.prompt_length - 1, **whole) for trace in (base, held)]
    masses = [flow.links.set_index(["source", "target"])["mass"] for flow in flows]
    change = masses[1].sub(masses[0], fill_value=0.0).abs()
    (source, target, _, first, second), *rest = difference.find_changes(here, here.shown, view)
    assert change[source, target] == pytest.approx(change.max())
    assert first == pytest.approx(masses[0].get((source, target), 0.0))
    assert second == pytest.approx(masses[1].get((source, target), 0.0))
    sizes = [abs(s - f) for *_, f, s in rest]
    assert sizes == sorted(sizes, reverse=True)
    assert flow_page.components().count("intravisto_links") == 2
    for name in (FlowTab.GRAPH, FlowTab.ATTRIBUTION, FlowTab.ROUTE):
        assert "the edited run" in tab(flow_page, name).html()


def test_a_link_is_tested_by_the_edit_that_takes_it_away(flow_page: App, asked: Asked) -> None:
    flow = flow_page.workspace.kept[of(FlowView, asked)]
    ids, n = flow.node_id, flow_page.workspace.base.trace.prompt_length
    ends = [(ids[s], ids[t]) for s, t in zip(flow.link_source, flow.link_target, strict=True)]
    source, target = next(e for e in ends if e[0].startswith("block") and e[1].startswith("attention"))
    (_, below, key), (_, row, query) = lists.parse_node(source), lists.parse_node(target)
    assert below == row - 1
    select(flow_page, row, query, f"{source}>{target}", 22)
    flow_page.click("link_test").assert_calm()
    assert flow_page.workspace.claim.edits == (iv.KnockOut(below, (query - n,), (key - n,)),)
    for component, site in ((Component.ATTENTION, "attn_out"), (Component.MLP, "mlp_out")):
        assert link_check.write_edit(iv.Link(component, 3, 8)) == iv.Ablate(site, 3, (8,))
    passed = next(e for e in ends if e[0].startswith("mid") and e[1] == e[0].replace("mid", "block"))
    select(flow_page, *lists.parse_node(passed[1])[1:], ">".join(passed), 23)
    assert flow_page.tester.button(key="link_test").disabled


def test_links_of_an_edited_run_are_not_checked_and_say_why(flow_page: App, asked: Asked) -> None:
    look_at_an_edit(flow_page, Look.EDITED)
    select(flow_page, 5, 11, "attention.5.11>mid.5.11", 40)
    assert "Links are checked on the run without edits" in flow_page.html()
    assert not {"check_link", "check_links"} & {b.key for b in flow_page.tester.button}
    assert "What the edits changed most" not in flow_page.html()
    assert not any(isinstance(v, LinkCheckView) for v in asked)


def test_a_cell_of_the_heatmap_opens_in_the_flow(flow_page: App, asked: Asked) -> None:
    flow_page.set("selectbox", "flow_start", FlowStart.ALL_GENERATED)
    tab(flow_page, FlowTab.ROUTE)
    flow_page.tester.switch_page("pages/heatmap.py").run()
    select(flow_page, 4, 8, "", 50)
    flow_page.tester.button(key="open_flow").click().run()
    flow_page.settle().assert_calm()
    assert page.QUESTIONS[FlowTab.FLOW] in flow_page.html()
    assert (of(FlowView, asked).row, of(FlowView, asked).position) == (4, 8)


def test_a_text_without_generated_tokens(flow_page: App) -> None:
    flow_page.set("number_input", "max_new_tokens", 0).click("run")
    assert FlowStart.ALL_GENERATED not in flow_page.tester.selectbox(key="flow_start").options
    tab(flow_page, FlowTab.ROUTE)
    assert "Nothing was generated" in flow_page.html()


def test_choices_survive_a_page_switch(flow_page: App) -> None:
    flow_page.pick("flow_labels", 2).set("number_input", "flow_down", 2)
    tab(flow_page, FlowTab.GRAPH)
    flow_page.tester.switch_page("pages/heatmap.py").run()
    flow_page.tester.switch_page("pages/flow.py").run()
    assert flow_page.tester.button_group(key="flow_tab").value == FlowTab.GRAPH
    tab(flow_page, FlowTab.FLOW)
    assert flow_page.tester.selectbox(key="flow_labels").value == "all"
    assert flow_page.tester.number_input(key="flow_down").value == 2


@pytest.mark.parametrize("name", list(page.TABS))
def test_copied_python_makes_the_same(
    flow_page: App, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    tab(flow_page, name)
    exec(next(code.value for code in flow_page.tester.code if "open_model" in code.value), {})
    (made,) = tmp_path.glob("*.html")
    assert made.stat().st_size > 10_000


def test_a_page_asked_for_first_of_a_fresh_server_puts_libraries_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen, gone = [0], []
    monkeypatch.setattr(garbage.gc, "get_freeze_count", lambda: frozen[0])
    monkeypatch.setattr(garbage.gc, "freeze", lambda: frozen.__setitem__(0, frozen[0] + 1))
    monkeypatch.setattr(frame.st, "switch_page", gone.append)
    monkeypatch.setattr(frame.st, "session_state", {})
    frame._open_through_app("Flow")
    frame._open_through_app("Flow")
    assert (frozen, gone) == ([1], ["app.py", "app.py"])
    frozen[0] = 0
    frame.st.session_state["workspace"] = "x"
    frame._open_through_app("Flow")
    assert frozen == [0]


def test_garbage_is_collected_now_and_then_and_not_after_every_rerun(
    flow_page: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.get_option("runner.postScriptGC") is False
    collected: list[float] = []
    clock = [garbage._earlier + garbage.REST_S]
    monkeypatch.setattr(garbage.gc, "collect", lambda: collected.append(clock[0]))
    monkeypatch.setattr(garbage.time, "monotonic", lambda: clock[0])
    for _ in range(3):
        garbage.collect_now_and_then()
    assert len(collected) == 1
    clock[0] += garbage.REST_S
    garbage.collect_now_and_then()
    assert len(collected) == 2


def test_heads_are_listed_and_mapped_and_lead_to_an_edit(flow_page: App, asked: Asked) -> None:
    tab(flow_page, FlowTab.ATTRIBUTION)
    here, view = flow_page.workspace, of(AttributionView, asked)
    assert view.by is Refinement.HEADS
    found = here.shown.trace.attribution(view.target, view.contrast, view.position, "heads")
    drawn = flow_page.panel("flow_heads_map")
    np.testing.assert_allclose([row[:-1] for row in drawn["values"]], found.head_values, rtol=1e-5)
    np.testing.assert_allclose([row[-1] for row in drawn["values"]], found.mlp_values, rtol=1e-5)
    (listed,) = flow_page.panel("flow_heads_list")["tables"]
    best = max(range(len(found.value)), key=lambda i: (found.kind[i] == "head") * abs(found.value[i]))
    first = listed["lines"][0]
    assert (first["row"] - 1, first["head"]) == (found.layer[best], found.index[best])
    assert first["number"] == change(float(found.value[best]))
    names = [line["name"] for line in listed["lines"]]
    assert names[20:] == ["4 other heads", "token embedding", "6 MLPs", "remainder"]
    groups = [found.value[found.kind == kind].sum() for kind in ("embedding", "mlp")]
    bars = [line["size"] for line in listed["lines"][21:23]]
    assert max(abs(line["size"]) for line in listed["lines"]) == pytest.approx(1.0)
    assert bars[0] / bars[1] == pytest.approx(groups[0] / groups[1])
    assert first["size"] / bars[1] == pytest.approx(float(found.value[best]) / groups[1])
    select_head(flow_page, first["row"], first["position"], first["part"], first["head"])
    check = of(LinkCheckView, asked)
    assert (check.links[0].layer, check.links[0].head) == (first["row"] - 1, first["head"])
    without = flow_page.workspace.kept[check]
    assert f"to <b>{significant(float(without.metric + without.measured[0]))}</b>" in flow_page.html()
    assert "number 1 of 24 heads by size" in flow_page.html()
    flow_page.click("head_ablate")
    (card,) = here.edits.cards
    assert card.what == iv.Ablate("z", first["row"] - 1, (view.position,), head=first["head"])
    node = here.edits.current_node()
    assert node is not None, "the edit was run at once"
    assert node.cards == here.edits.cards


def select_head(flow_page: App, row: int, position: int, part: str, head: int | None) -> None:
    rev = flow_page.workspace.shown.trace.id
    flow_page.workspace.select({"row": row, "position": position, "part": part, "head": head, "rev": rev, "n": 77})
    flow_page.tester.run()
    flow_page.assert_calm()


def test_a_head_may_no_longer_look_where_it_looks_most(flow_page: App) -> None:
    tab(flow_page, FlowTab.ATTRIBUTION)
    here = flow_page.workspace
    select_head(flow_page, 5, 11, "attention.5.11", 3)
    weights = here.shown.trace.pattern(4, 3)[11]
    sources = flow_page.panel("flow_part_sources")["tables"][0]["lines"]
    assert sources[0]["name"] == f"position {int(weights.argmax())}"
    assert sum(line["size"] for line in sources) == pytest.approx(1.0, abs=1e-5)
    flow_page.click("head_knock_out")
    assert here.edits.cards[0].what == iv.KnockOut(4, (11,), (int(weights.argmax()),), heads=(3,))


def test_an_mlp_of_the_map_tells_its_neurons(flow_page: App, asked: Asked) -> None:
    tab(flow_page, FlowTab.ATTRIBUTION)
    select_head(flow_page, 6, 11, "mlp.6.11", None)
    lines = flow_page.panel("flow_part_neurons")["tables"][0]["lines"]
    assert sum("other neurons" in line["name"] for line in lines) == 1
    fine = of(AttributionView, asked)
    assert (fine.by, fine.layer) == (Refinement.NEURONS, 5)
    assert "layer 5 · MLP" in flow_page.html()
    flow_page.click("mlp_test").assert_calm()
    n = flow_page.workspace.base.trace.prompt_length
    assert flow_page.workspace.claim.edits == (iv.Ablate("mlp_out", 5, (11 - n,)),)


def test_the_list_of_heads_unfolds_is_sorted_and_is_measured(flow_page: App, asked: Asked) -> None:
    tab(flow_page, FlowTab.ATTRIBUTION)
    here = flow_page.workspace
    here.options["flow_heads_open"].update({"other heads", "mlp"})
    flow_page.tester.run()
    (listed,) = flow_page.panel("flow_heads_list")["tables"]
    assert len(listed["lines"]) == 20 + 1 + 4 + 1 + 1 + 6 + 1
    flow_page.set("selectbox", "flow_heads_order", HeadOrder.LOWERS)
    (listed,) = flow_page.panel("flow_heads_list")["tables"]
    sizes = [line["size"] for line in listed["lines"][:20]]
    assert sizes == sorted(sizes)
    assert listed["columns"] == ["adds"]
    flow_page.click("flow_heads_measure").assert_calm()
    (listed,) = flow_page.panel("flow_heads_list")["tables"]
    assert listed["columns"] == ["adds", "without it"]
    check = here.kept[of(LinkCheckView, asked)]
    assert [line["aside"] for line in listed["lines"][:2]] == [
        significant(float(check.metric + check.measured[i])) for i in range(2)
    ]


def handlings(asked: Asked) -> set[SinkHandling]:
    return {v.sinks for v in asked if isinstance(v, FlowView | GraphView | RouteView | DisagreementView)}


def test_without_sinks_there_is_no_choice_and_it_says_why(flow_page: App, asked: Asked) -> None:
    box = flow_page.tester.selectbox(key="no_sinks")
    assert box.disabled
    assert "no position is measured" in box.help
    assert "sinks_undo" not in {b.key for b in flow_page.tester.button}
    assert handlings(asked) == {SinkHandling.SHOW}


def test_where_sinks_are_measured_they_are_set_aside_and_one_switch_undoes_it(flow_page: App, asked: Asked) -> None:
    app = flow_page
    asked.clear()
    with milder_rule():
        app.set("text_area", "prompt", "Q: What is the capital of France? A:").click("run")
        trace = app.workspace.shown.trace
        assert trace.sinks().found
    assert handlings(asked) == {SinkHandling.HIDE}
    assert "Attention sinks are set aside" in app.html()
    assert "of this mass" in app.html()
    for name in (FlowTab.GRAPH, FlowTab.ROUTE):
        asked.clear()
        tab(app, name)
        assert handlings(asked) == {SinkHandling.HIDE}
        assert "Attention sinks are set aside" in app.html()
    app.click("sinks_undo").assert_calm()
    assert of(RouteView, asked).sinks is SinkHandling.SHOW
    tab(app, FlowTab.FLOW)
    assert of(FlowView, asked).sinks is SinkHandling.SHOW
    assert "Attention sinks are shown" in app.html()
    app.set("selectbox", "sinks", SinkHandling.RENORMALISE).assert_calm()
    assert of(FlowView, asked).sinks is SinkHandling.RENORMALISE
    assert "noise in full width" in app.html()
    app.tester.switch_page("pages/heatmap.py").run()
    app.tester.switch_page("pages/flow.py").run()
    assert app.tester.selectbox(key="sinks").value is SinkHandling.RENORMALISE


def test_the_flow_opens_with_its_defaults_at_full_depth(flow_page: App, asked: Asked) -> None:
    view = of(FlowView, asked)
    assert (view.measure, view.attention) == (ShareMeasure.L1, AttentionDivision.VALUE_WEIGHTED)
    assert view.rows == Span(0, flow_page.workspace.shown.engine.model.n_layers + 2)
    assert "rank correlation of .4" in flow_page.html()
    flow_page.pick("flow_measure", list(ShareMeasure).index(ShareMeasure.NORM))
    assert "rank correlation" not in flow_page.html(), "that was measured for the default alone"


def test_the_line_of_options_keeps_its_fields_whatever_is_chosen(flow_page: App) -> None:
    for how in options.LINKS:
        flow_page.set("selectbox", "flow_links", how)
        k = {n.key: n for n in flow_page.tester.number_input}
        assert ("flow_min_weight" if how == options.LEAST else "flow_top_k") in k
        if how not in (options.TOP, options.LEAST):
            assert k["flow_top_k"].disabled
