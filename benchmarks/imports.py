"""Importing the library and asking the command line for help, beside importing the libraries that both need anyway.

Each line is a process of its own. Nothing here loads torch; the tests hold that.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from common import ROOT, machine, seconds, table

FACE, TABLES = "import numpy, jaxtyping", "import numpy, pandas"
LINES = {
    FACE: (["-c", FACE], FACE),
    "import intravisto_core": (["-c", "import intravisto_core"], FACE),
    "import intravisto_core.records": (["-c", "import intravisto_core.records"], FACE),
    "import intravisto_core.figures": (["-c", "import intravisto_core.figures"], FACE),
    TABLES: (["-c", TABLES], TABLES),
    "intravisto --help": (["-m", "intravisto_core", "--help"], TABLES),
    "intravisto attribute --help": (["-m", "intravisto_core", "attribute", "--help"], TABLES),
    "intravisto trace x --wrong": (["-m", "intravisto_core", "trace", "x", "--wrong"], TABLES),
    "intravisto trace x --model /no/such": (["-m", "intravisto_core", "trace", "x", "--model", "/no/such"], TABLES),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in LINES}
    # the first turn fills the system's cache; lines take turns, so that a slow moment hits all of them
    for turn in range(options.repetitions + 1):
        for name, (arguments, _) in LINES.items():
            command = [sys.executable, *arguments]
            took = seconds(lambda command=command: subprocess.run(command, cwd=ROOT, capture_output=True))
            if turn:
                times[name].append(took)
    rows: list[list[object]] = []
    for name, (_, beside) in LINES.items():
        best, middle = min(times[name]), statistics.median(times[name])
        rows.append([name, best, middle, best / min(times[beside]), middle / statistics.median(times[beside])])
    print(machine())
    table(
        f"{options.repetitions} processes each, beside the import above them (goal ≤ 1.5)",
        ["", "least, s", "median, s", "of least", "of median"],
        rows,
    )


if __name__ == "__main__":
    main()
