"""The help of the patching page: what its grids show, how to read them, how they are computed, where they mislead."""

from __future__ import annotations

GRIDS = """
**What it shows.** Two prompts that differ in a word or two, and have different answers. Each cell is a run of one of
them in which one vector was replaced by that of the other prompt. The number says how far this brings the answer over:
100 % is all the way, 0 % is nothing, below 0 it leads away.

**How to read it.** Rows are layers, the lowest at the bottom. Columns of the left grid are tokens, those of the right
one heads. The prompts stand above the columns, token under token; a column whose tokens differ is boxed. What both
prompts begin with is one hatched block: the vectors there are equal, so nothing can be patched. A hatched cell lies
below the noise floor: rounding alone could make as much. Click a cell to read it in words.

**What to do with it.** In *denoise*, the corrupt prompt runs with clean vectors: a high cell holds enough to bring the
answer back. In *noise*, the clean prompt runs with corrupt vectors: a high cell is needed for the answer. *Open edited
run* shows the run of one cell on all pages. *Test this* asks whether it holds on other prompts, beside controls.
"""

COMPUTED = """
**The measure** is taken after the last position: the logit of the target less that of the contrast, the probability of
the target, or the distance of the whole prediction from that of the clean run (KL).

**The share** is the change that the patch makes, divided by the distance of the two unpatched runs. Where these lie
nearer to each other than five noise floors there are no shares, and the change itself is shown.

**Cells are run**, each of them: only the layers and positions that the patch can change are computed anew, many cells
at a time, every fourth layer first. Cells that can change nothing are not run.

**Heads** are patched at every position from the first difference on, unless *more* says otherwise.

**The estimate** is one backward pass: the slope of the measure at the receiving run, times the difference of the two
vectors. It costs next to nothing, and is often wrong low in the stream, where a large change bends the answer.

**The noise floor** is what rounding can do: the larger of a patch that changes nothing, two steps of the number format
at the size of the logits, and what moves when the patched numbers are nudged by one step.
"""

MISLEADS = """
A place that holds the difference need not have found it: it may only pass it on. And two places that both hold it look
needless one by one, when each could do without the other.

What a patch brings along is all that differs at the place, not one idea. So choose prompts that differ in one thing.

All of it is one pair of prompts. A claim about the model needs many: *Test this*.
"""

SWEEP = """
**What it shows.** Each cell is a run without one head, or one MLP: what it writes is set to zero, or to its mean. The
colour says how the lead of the target over the contrast changes: blue rises, orange falls. With several prompts, one a
line, each cell is the mean over them; choose one to see it alone.

**Where it misleads.** The model was never trained to run without a part, so a zero may break more than it takes away;
*mean* is milder. Parts that stand in for each other look needless one by one. A sweep looks at many parts at once, and
some of them stand out by chance: test the one that you care for on other prompts.
"""

PAGES = {"Grids": GRIDS, "How they are computed": COMPUTED, "Where they mislead": MISLEADS, "Sweeps": SWEEP}
