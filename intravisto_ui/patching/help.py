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

PAIRS = """
**Many pairs.** Paste pairs of prompts, one a line; each is run by itself. The grid is the mean of their shares;
*Show* gives the grid of one pair alone. Columns are tokens only where all clean prompts are as long; heads do with
any length. The interval of each cell (95 %, by drawing pairs anew) stands in the files.

**One way** (path patching, among *Heads*). What a head writes in the other run reaches one place, the logits or
the queries, keys or values of one head. All other heads write what they wrote, and so do MLPs, unless the way leads
through them. A cell says how much of the difference goes that way.
"""

CIRCUIT = """
**What it shows.** Some heads and MLPs are kept: they are computed as ever. All others give what they give in the
corrupt prompt. The number says how much of the lead of the target over the contrast is left: 100 % is that of the
whole model, 0 % that of the corrupt prompt.

**How to read it.** Rows are layers, squares are heads, the last column is the MLPs. Filled squares are kept, the
stronger the larger their score. Strokes (EAP-IG alone draws them) are what parts hand to each other, dashed where it
works against the answer; green leads into attention, magenta into an MLP, blue to the logits. The curve shows how
much is left when more and more of the best parts are kept.

**What to do with it.** Click a part to keep it or leave it out, or a point of the curve to take so many of the best,
then press *Measure*. *Take from attribution* begins with the parts that add most to the answer directly.

**Where it misleads.** A circuit is one of these prompts and these corrupt prompts; what both share is no part of it.
Above 100 % is no mistake: parts that work against the answer are left out. Parts ranked on the same pairs that they
are measured on look better than they are.
"""

PAGES = {
    "Grids": GRIDS,
    "How they are computed": COMPUTED,
    "Where they mislead": MISLEADS,
    "Many pairs, one way": PAIRS,
    "Circuits": CIRCUIT,
    "Sweeps": SWEEP,
}
