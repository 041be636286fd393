"""The help of the page about the model."""

from __future__ import annotations

MODEL = """
**What it shows.** Which model this is, and whether this program reads it exactly. When a model is opened, a short text
is run through it and what is captured is put together again: the parts must add up to what the model computes.

**How to read it.** Each line is one such identity with the largest error that was measured, relative to the size of the
numbers, and the error that is allowed at this precision. Around 1e-7 is what rounding leaves in single precision.

**Where it misleads.** The check says that the numbers are the model's own. It says nothing of what they mean.
"""
