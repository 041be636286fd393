"""From `streamlit run` to the first figure record sent: beside the bare imports of what the app stands on.

`import transformers` alone is lazy; the second line of the table also imports what opening any model takes.
A small client opens the app's websocket as a browser does (asks for the page, and for its parts again when the server
tells it to) and waits for the first message that holds the grid's data.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, interleaved, machine, running_app, table

IMPORTS = "import torch, transformers, streamlit, plotly"
TO_LOAD = f"{IMPORTS}; from transformers import AutoModelForCausalLM, PreTrainedModel"
LIMIT = 180.0
# long enough for `first_record` to take it for a figure
BARE = "import streamlit as st\nst.write('intravisto_grid' + 'x' * 5000)\n"


def first_record(port: int) -> int:
    """Wait until the grid's data came; gives its size in bytes."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.sync.client import connect

    def ask(fragment: str = "") -> bytes:
        message = BackMsg()
        message.rerun_script.query_string = ""
        if fragment:
            message.rerun_script.fragment_id = fragment
        return message.SerializeToString()

    end = time.perf_counter() + LIMIT
    due: dict[str, tuple[float, float]] = {}
    with connect(f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=["streamlit"], max_size=None) as socket:
        socket.send(ask())
        while time.perf_counter() < end:
            try:
                raw = socket.recv(timeout=0.02)
            except TimeoutError:
                raw = None
            if raw is not None:
                message = ForwardMsg()
                message.ParseFromString(raw)
                if message.WhichOneof("type") == "auto_rerun":
                    interval = message.auto_rerun.interval
                    due[message.auto_rerun.fragment_id] = (time.perf_counter() + interval, interval)
                if b"intravisto_grid" in raw and len(raw) > 4000:
                    return len(raw)
            for fragment, (at, interval) in list(due.items()):
                if time.perf_counter() >= at:
                    socket.send(ask(fragment))
                    due[fragment] = (time.perf_counter() + interval, interval)
    raise TimeoutError(f"no figure after {LIMIT:.0f} s")


def app(script: str = "app.py") -> None:
    with running_app(script) as started:
        first_record(started.port)


def imports(line: str) -> None:
    subprocess.run([sys.executable, "-c", line], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare_script = Path(folder) / "bare.py"
        bare_script.write_text(BARE)
        compare(str(bare_script), options.repetitions)


def compare(bare_script: str, repetitions: int) -> None:
    works = {
        "import torch, transformers, streamlit, plotly": lambda _: imports(IMPORTS),
        "the same and transformers' model classes": lambda _: imports(TO_LOAD),
        "streamlit run app.py, to the first figure record": lambda _: app(),
        "import streamlit": lambda _: imports("import streamlit"),
        "streamlit run of a script that writes one line, to that line": lambda _: app(bare_script),
    }
    for work in works.values():
        work(0)
    found = interleaved(works, repetitions)
    bare, to_load, _, alone, _ = found.values()
    print(machine())
    table(
        f"start, medians of {repetitions}, files in the system's cache (goal ≤ 1.3 of the first line)",
        ["", "seconds", "of line 1", "of line 2", "of line 4"],
        [[name, took, took / bare, took / to_load, took / alone] for name, took in found.items()],
    )


if __name__ == "__main__":
    main()
