"""Make the file of the first picture: `python -m tests.pages.make_first_run`, after a change of views or of the demo.

The app is run on the demo model as a new user opens it, page by page; the run is then kept as the page of saved runs
keeps it, with all that the pages asked for.
"""

from __future__ import annotations

from intravisto_ui.first_run.show import FILE
from intravisto_ui.saved.run_file import save_run
from tests.pages.conftest import App, as_a_server

PAGES = ("heatmap", "explain", "flow")


def main() -> None:
    """Write the file, and say how large it is."""
    app = App()
    for page in PAGES:
        app.tester.switch_page(f"pages/{page}.py").run()
    assert app.workspace.base is not None
    save_run(app.workspace, app.workspace.base, FILE)
    print(f"wrote {FILE} ({FILE.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    with as_a_server():
        main()
