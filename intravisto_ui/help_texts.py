"""The texts behind the “?” of each picture: what it shows, how to read it, how it is computed, where it misleads."""

from __future__ import annotations

from typing import Any

import streamlit as st

HEATMAP = """
**What it shows.** A language model reads a text token by token (a token is a word or a piece of one; ␣ is a space).
At every position it passes the text through its layers, and each layer adds something to a running list of numbers,
the *stream*. The picture asks after every layer: if the model had to answer now, which token would it say next?

**How to read it.** Every column is a position: it *reads* its token and *says* the next one, as the two lines at its
head tell. Rows go up from the embeddings (the bare token) through the layers to the final norm, which is what the
model really answers. A cell holds the most probable token there and its probability; the deeper the colour, the
higher the value named under the picture. Look for the row where the answer first appears. The blue upright line is
where the prompt ends and the model's own text begins.

**How it is computed.** The stream after the layer goes through the model's final norm and its output table (the
*output lens*); other lenses read it with other tables. *Attention* and *MLP* show what that part alone added: these
cells list the tokens that it raised, by change of score.

**Where it misleads.** Middle layers were never trained to be read this way: an odd token may mean that the lens does
not fit there, not that the model thinks of it. A high probability in a cell is no proof that the layer causes the
answer. Colours of shares are sizes of what was added, not causes.
"""

MODEL = """
**What it shows.** Which model this is, and whether this program reads it exactly. When a model is opened, a short text
is run through it and what is captured is put together again: the parts must add up to what the model computes.

**How to read it.** Each line is one such identity with the largest error that was measured, relative to the size of the
numbers, and the error that is allowed at this precision. Around 1e-7 is what rounding leaves in single precision.

**Where it misleads.** The check says that the numbers are the model's own. It says nothing of what they mean.
"""


def popover(place: Any, text: str) -> None:
    """A “?” that opens the text."""
    with place.popover("?", help="What this shows, how to read it, where it misleads"), st.container(key="help"):
        st.markdown(text)
