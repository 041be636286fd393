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
from intravisto_ui.session import address  # noqa: E402
from intravisto_ui.session.workspaces import current_workspace  # noqa: E402
from intravisto_ui.sidebar import sidebar  # noqa: E402

PAGES = [
    st.Page("pages/heatmap.py", title="Heatmap", default=True),
    st.Page("pages/flow.py", title="Flow"),
    st.Page("pages/injection.py", title="Injection"),
    st.Page("pages/model.py", title="About this model"),
]

page = st.navigation(PAGES, position="top")
starting.empty()
workspace = current_workspace()
frame.open_asked_page(PAGES)
frame.draw_style()
sidebar.start_first_run(workspace)
workspace.wait_briefly()
workspace.collect_run()
workspace.renew_leases()
with st.sidebar, problems.guard():
    sidebar.draw(workspace)
address.write(workspace.id, workspace.options)
frame.dim_picture(workspace)
problems.draw_box(workspace)
with problems.guard():
    page.run()
