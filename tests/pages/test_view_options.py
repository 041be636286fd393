"""Options that several pages have: one label, one help, one memory."""

from __future__ import annotations

import pytest

from tests.pages.conftest import App

SHARED = (("select_slider", "rows_6", (2, 5)),)


def look(app: App, kind: str, key: str) -> tuple[str, str, object]:
    widget = getattr(app.tester, kind)(key=key)
    return widget.label, widget.help, widget.value


@pytest.mark.parametrize(("kind", "key", "value"), SHARED)
def test_heatmap_and_flow_share_an_option(app: App, kind: str, key: str, value: object) -> None:
    app.set(kind, key, value)
    on_heatmap = look(app, kind, key)
    assert on_heatmap[2] == value
    app.tester.switch_page("pages/flow.py").run()
    app.assert_calm()
    assert look(app, kind, key) == on_heatmap


def test_the_graph_has_the_same_layers(app: App) -> None:
    app.set("select_slider", "rows_6", (2, 5))
    app.tester.switch_page("pages/flow.py").run()
    app.tester.button_group(key="flow_tab").set_value("graph").run()
    app.assert_calm()
    assert look(app, "select_slider", "rows_6")[2] == (2, 5)
