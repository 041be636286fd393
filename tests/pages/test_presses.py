"""A press of a button is answered, also where the script that was told of it ends before it comes to the button."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from tests.pages.conftest import App


def page(keeps: bool) -> None:
    """A page with work above its button; a newer act ends the script that is told of the press at that work."""
    import streamlit as st

    from intravisto_ui.parts.presses import draw_press

    state = st.session_state
    state.setdefault("answered", 0)
    if state.pop("newer_act", False):
        st.rerun()
    pressed = draw_press(st.button, "Add", key="add") if keeps else st.button("Add", key="add")
    if pressed:
        state["answered"] += 1


def press_while_working(keeps: bool) -> AppTest:
    app = AppTest.from_function(page, kwargs={"keeps": keeps}).run()
    app.session_state["newer_act"] = True
    return app.button(key="add").click().run()


def test_a_press_is_kept_until_the_page_comes_to_its_button() -> None:
    app = press_while_working(keeps=True)
    assert app.session_state["answered"] == 1
    # and answered once
    assert app.run().session_state["answered"] == 1


def test_streamlit_by_itself_loses_it() -> None:
    """Why `draw_press` is there; once this fails it can go."""
    assert press_while_working(keeps=False).session_state["answered"] == 0


def test_a_press_of_a_button_that_is_gone_is_forgotten(app: App) -> None:
    app.workspace.presses.add("a button of another page")
    app.tester.run()
    assert not app.workspace.presses
