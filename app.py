"""The app: `streamlit run app.py`. Only the way to the pages; each page is a file of `pages/`."""

import sys

import streamlit as st

st.set_page_config(page_title="InTraVisTo", layout="wide", initial_sidebar_state="expanded")
starting = st.empty()
if "intravisto_core.engine" not in sys.modules:
    # the libraries behind the core load for seconds at the first start: say so before importing them
    starting.markdown("**InTraVisTo** is starting. Loading its libraries takes some seconds, the first time only.")
    from intravisto_ui.session import garbage

    with garbage.put_aside():
        import intravisto_core.engine  # noqa: F401

from intravisto_ui.parts import frame, problems  # noqa: E402
from intravisto_ui.session import address, workspace  # noqa: E402
from intravisto_ui.sidebar import sidebar  # noqa: E402

PAGES = [
    st.Page("pages/heatmap.py", title="Heatmap", default=True),
    st.Page("pages/flow.py", title="Flow"),
    st.Page("pages/injection.py", title="Injection"),
    st.Page("pages/model.py", title="About this model"),
]

page = st.navigation(PAGES, position="top")
starting.empty()
here = workspace.current()
frame.open_asked(PAGES)
frame.style()
sidebar.begin()
here.settle()
with st.sidebar, problems.guarded():
    sidebar.draw()
address.write(here.id, here.options)
frame.dim()
problems.box()
with problems.guarded():
    page.run()
