"""The texts behind the “?” of the flow page."""

FLOW = """
**What it shows.** The answer at the top is the sum of many things: what was there before, and what each layer's
attention and MLP added. The picture starts with 100 % at the cell you chose and hands it down: at every sum, each
part takes a share by its size. What reaches a token at the bottom is that token's part in the book-keeping.

**How to read it.** Columns are positions, rows are layers, as in the heatmap. A black bar is the state after a layer,
as wide as the mass that runs through it. Blue bands hand the state on as it is; magenta goes through the MLP; green
goes through attention, which fetches from other positions: strokes run from the attention node to the positions it
read. A stronger colour means that the prediction differs more between the two ends (KL). Hatched or dashed is
negative: that part points against the sum.

**What to do with it.** Click a bar or a band: its numbers open at the side. *Start here* follows the flow from there.
The strip above the picture chooses another position; a bar under each token is the mass that comes from it. Of a long
text a second strip shows the whole, with what is in sight shaded; positions without mass are folded to ⋯. Under
*More*: how many rows, thinner links, labels, size; wide columns show every position.

**Attention sinks.** Heads look at some positions when they have nothing to do, most often at the first one. Where such
sinks are measured, they are set aside at first: what goes there ends, and everything else is drawn as it is. *Hide,
renormalise* scales the rest up instead; that made the flow agree less with edits.

**How it is computed.** Where parts are added, each takes a share by the measure under *Shares by*; what attention
takes is divided over the positions it read by *Attention by*. At every height the shares add up to all of the mass:
the largest error is under the picture. What is not drawn is only not shown; its part is under the picture too.

**Where it misleads.** It is a book-keeping of sizes, not of causes. A large part may be cancelled later or ignored by
what reads it, and another measure gives other bands. *Mark where another measure disagrees* shows how much hangs on
the measure. On two sets of fifty prompts of a small model, the mass that reaches a word agreed with what swapping that
word changes at rank correlations of .42 and .52 by this page's first measure, and of −.21 and −.05 by the norm measure,
which is no better than chance.
"""

GRAPH = """
**What it shows.** From the chosen cell down: every step that contributes at least the share you set. A dot is the
state of a position after a layer. A blue line hands it on; a green line is what attention brought from another
position.

**How to read it.** Thicker is more. The token beside a dot is what that state reads as, where it differs from the
state above. A magenta ring marks where the MLP's own share of the block's output is above the threshold. Lower the
threshold to see more steps, raise it to see only the main ones.

**What to do with it.** Click a line: which heads carry it, and where else they look. Click a dot: what it is made of,
and what its layer adds to the token asked about.

**How it is computed.** At each state the parts are the state below and every (head, source position); a part's share
is how much nearer the sum comes with it, in L1 distance. The joint form: all shares at a state add up to 1.

**Where it misleads.** Many small parts may matter together and yet all lie below the threshold.
"""

ATTRIBUTION = """
**What it shows.** The score (logit) of a token is a sum over everything that was written into the last state of its
position. Each part has its own term. *Heads* shows the heads of all layers: as a map, with the MLPs in a column beside
them, and as one list. *Layers* shows the token embedding, each attention and each MLP, from bottom to top.

**How to read it.** Blue squares and bars to the right raise the target over the contrast; orange squares and bars to
the left lower it. All lines together, with the remainder, are the model's own difference of scores: what is not listed
by itself stands in a line with its sum. A line with a small triangle opens. The chart shows how the sum grows from
layer to layer.

**What to do with it.** Click a head or an MLP: you see where the head looks, and what the score is when its output is
taken away and the model runs on. From there it can be ablated, or kept from looking where it looks most. *Measure the
listed heads* takes all listed heads away, one at a time.

**How it is computed.** The final norm's scale is held at its value in this run; then every part's term is exact and
they add up. Without a contrast, the target is compared with the mean of all tokens.

**Where it misleads.** Only direct effects count: a layer that prepares something for a later one gets nothing here.
That later one gets it all. So what a head adds, and what is missed without it, often differ: read both.
"""

ROUTE = """
**What it shows.** One line for each generated token: the flow from the state that says it, added up over the
positions where it ends, and over the layers and heads that it runs through. The first line is the mean of all tokens.

**How to read it.** The strip of each line is the text so far: darker squares gave more. Beside it the positions,
layers and heads in which it differs most from the mean of all tokens (+ more, − less, in percentage points). A head
counts only what it brings from other positions.

**Where it misleads.** As the flow: sizes, not causes.
"""

PAGES = {"The flow": FLOW, "The graph": GRAPH, "The attribution": ATTRIBUTION, "The route": ROUTE}
