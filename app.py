"""The app: `streamlit run app.py`. Only the server and the way to the pages; each page is a file of `pages/`.

Streamlit imports this file for the server, and then runs it as a script for every visit.
"""

import streamlit as st


def draw_page() -> None:
    """Draw what all pages share, and the page that is asked for."""
    st.set_page_config(page_title="InTraVisTo", layout="wide", initial_sidebar_state="expanded")

    from intravisto_ui.first_run import show as first_run
    from intravisto_ui.parts import frame, problems
    from intravisto_ui.session import address, garbage, restart
    from intravisto_ui.session.kept_runs import find_kept_runs
    from intravisto_ui.session.libraries import libraries
    from intravisto_ui.session.workspaces import current_workspace

    pages = [
        st.Page("pages/explain.py", title="Explain"),
        st.Page("pages/heatmap.py", title="Heatmap", default=True),
        st.Page("pages/flow.py", title="Flow"),
        st.Page("pages/injection.py", title="Injection"),
        st.Page("pages/patching.py", title="Patching"),
        st.Page("pages/attention.py", title="Attention"),
        st.Page("pages/layer.py", title="Layer"),
        st.Page("pages/architecture.py", title="Architecture"),
        st.Page("pages/model.py", title="About this model"),
    ]
    if find_kept_runs() is not None:
        pages.append(st.Page("pages/saved.py", title="Saved"))

    page = st.navigation(pages, position="top")
    workspace = current_workspace()
    frame.open_asked_page(pages)
    frame.draw_style()
    if libraries().are_loaded():
        from intravisto_ui.sidebar import sidebar

        sidebar.start_first_run(workspace)
        workspace.wait_briefly()
        workspace.collect_run()
        workspace.renew_leases()
        with st.sidebar, problems.guard():
            sidebar.draw(workspace, leads=page.title not in ("Injection", "Patching"))
    else:
        # they load for seconds: until then the first picture comes from a file
        first_run.show(workspace)
        with st.sidebar, problems.guard():
            first_run.draw_waiting(workspace)
    address.write(workspace.id, workspace.options)
    restart.write_down(workspace)
    frame.dim_picture(workspace)
    problems.draw_box(workspace)
    with problems.guard():
        page.run()
    if workspace.run is None:
        garbage.collect_now_and_then()


if __name__ == "__main__":
    draw_page()
else:
    from starlette.middleware import Middleware

    from intravisto_ui.server.door import Door

    app = st.App(__file__, middleware=[Middleware(Door)])
