"""The words behind "?" of the page of saved runs."""

from __future__ import annotations

SAVED = """
**What it is.** A run that you keep is one file on this machine: its text, its pictures and the numbers behind them, and
a description of the model. It opens again without the model.

**How to use it.** Give it a name and press *Keep this run*. *Open* shows it on all pages; what the file does not hold
is said there, and *Run* at the left loads the model and runs the prompt again. *Download* gives the file, to send it
or to open it with `intravisto_core.open_trace("run.intravisto")`. *Import* takes such a file from elsewhere.

**Where it misleads.** The numbers are those of the day when it was saved. Another version of the model, another data
type or another device can give others.
"""
