"""The help of the architecture page."""

from __future__ import annotations

PICTURE = """
**What it shows.** Every module of the model as a box inside the one that holds it. Data goes from top to bottom, in the
order in which the model's code ran. Round marks are operations outside of any module: **+**, **×**, *attention*. The
blue line at the left is the stream that goes past a part and is added to what the part gives. Dashed lines bring
something from the side, as the tables of rotary positions do.

**How to read it.** The bar in a box says how many of the model's parameters it holds. Equal layers are drawn once, with
**×** and their number; the strip beside them has a row for each: what it says, how large its output is, or how long it
took. A click on a row chooses that layer, and all details are then of it.

**What to do with it.** Double click opens and closes a box, the wheel zooms, a drag moves. Keys: arrows go from box to
box, Enter opens, + and − zoom, 0 shows all, / searches by path or class. At the right stand the shapes of the last run,
with the number of tokens marked, and code that hooks the module. *Measure in every run* adds statistics, a histogram,
a picture of two dimensions, the tokens that a vector reads as, or attention, at the output or the input of one module
or of all equal ones; they follow each new run, and each token while it is generated. What is measured at all equal
layers can be chosen for the strip too. In the strip, the words at the right and the frame around a column are of the
position that is selected above.
"""

COMPUTED = """
The model is called once over the text, with hooks on every module and on every function that torch runs. A link is
drawn where a tensor that one part made was used by another one: the tensor itself is followed, not the order in which
modules are registered. Functions that only lead on to each other are one mark; hover over it to see which. Functions
that only reshape, cast or select are not drawn.

Equal means: the same classes, constructor, shapes and types inside, and the same links. Times are of this one run, the
looking itself taken off, and include everything that a module calls; on a GPU they are the time until the work is
queued.
"""

MISLEADS = """
One run shows one way through the code. Experts that were not chosen, and branches that were not taken, are pale.

A module that gives back the very tensor that it was given, as dropout does outside of training, cannot be told from the
tensor itself: what uses it later is linked to that module.

Times of one run on a busy machine say little; compare layers with each other, not with another day.
"""

PAGES = {"The picture": PICTURE, "How it is computed": COMPUTED, "Where it misleads": MISLEADS}
