"""The help of the heatmap page: what its picture shows, how to read it, how it is computed, where it misleads."""

from __future__ import annotations

HEATMAP = """
**What it shows.** A language model reads a text token by token (a token is a word or a piece of one; ␣ is a space).
At every position it passes the text through its layers, and each layer adds something to a running list of numbers,
the *stream*. The picture asks after every layer: if the model had to answer now, which token would it say next?

**How to read it.** Every column is a position: it *reads* its token and *says* the next one, as the two lines at its
head tell. Rows go up from the embeddings (the bare token) through the layers to the final norm, which is what the
model really answers. A cell holds the most probable token there and, where there is room, the number that colours it.
The bar under the picture names that number and its ends. Look for the row where the answer first appears. The blue
upright line is where the prompt ends and the model's own text begins.

**What to do with it.** Click a cell to open it at the side. Click a generated token above the picture to ask why it
came. *Find* goes to a place, or marks the lowest row where a token comes up in each column. Under *More*: other
readings, scales, text size. *Export*: files, and the lines of Python that make the same picture. Of a long text a strip
above the picture shows the whole, with what is in sight shaded; a click there goes to that place.

**How it is computed.** The stream after the layer goes through the model's final norm and its output table (the
*output lens*); other lenses read it with other tables. *Attention* and *MLP* show what that part alone added: these
cells list the tokens that it raised, with their change of score (logit); the tokens whose direction is nearest come
first, or under *More* those with the largest change.

**Where it misleads.** Middle layers were never trained to be read this way: an odd token may mean that the lens does
not fit there, not that the model thinks of it. A high probability in a cell is no proof that the layer causes the
answer. Colours of shares are sizes of what was added, not causes.
"""


FIND = """
**A place** is gone to, in one or two parts: `row 5` (heatmap rows, 0 is the embeddings), `layer 3` or `L3`, `emb`,
`norm`; `p=4`, `p=-1` (the last position). `L2H7` is a head: the output of its layer. Negatives count from the last.

**A token** is looked for in every cell: `Rome` finds the word with or without a space before it, whichever comes up
more often; `" Rome"` in quotes (`␣Rome` is the same) and `"Rome"` say exactly which; `id 17` is the token of that id.
Each column is marked at the lowest row where the token comes up, and the nearest such cell is selected. Quotes also
make a text of what would be a place: `"row 5"`.
"""


COLOURS = """
- *top probability*: how sure the cell is of the token it shows.
- *entropy*: how undecided it is, in nats (one is 1.44 bits); 0 is certain.
- *attention, MLP contribution*: how much that part counts where it is added to the stream, by the measure chosen under
  *More*; blank at the embeddings and the final norm, where nothing is added.
- *rank, probability of a token*: where a token that you name stands among all tokens; rank 1 is the top. If its text is
  several tokens, the first is followed.
- *KL from final*: how far the cell's prediction is from the model's own at that position; 0 is the same prediction.
- *KL from row below*: how far the prediction moved since the row below.
- *real next token*: the log-probability (ln) that the cell gives to the token the text really goes on with; 0 is
  certain, −0.69 is 50 %. *Correctness*: whether it is the cell's top token. Both are blank in the last column.
- *length of the stream, cosine with row below*: of the stream itself, whatever component is shown. A cosine near 1
  means that the layer hardly turned the stream.
- *change of logit*: for cells that show an update, how far it raised the score of the token shown.

Under the *max probability* lens, cells read with different tables are not to be compared by colour.
"""


CELL = """
**Selected cell.** The most probable tokens there (click one to draw it over the layers) and the cell's numbers. Then
one of:

- *layers*: how the chosen tokens fare from row to row under the output lens, what share each part has where it is
  added, and the tokens that each part raises most.
- *attention*, *MLP*: the 15 tokens that this part raised and lowered most, with the change of their score at the scale
  of the stream, and their rank in the stream before and after. They are in order of the angle between what was written
  and the token's direction; by the change itself, rare tokens with long rows in the table come first everywhere (this
  is on offer under *More*). A large change at rank 1,000 may still not matter.
- *shares*: how much each part counts in the sum, by all five measures. They ask different questions and need not agree.
- *sampling*: the odds of the next token under another temperature, top-k and top-p, from the stored scores.

**Why this token?** compares a generated token with its runner-up: which updates raised its score over the
other's most, each at the scale of the stream there. This is the direct effect; what one layer prepares for
a later one is not counted.
"""


PAGES = {"The picture": HEATMAP, "The colours": COLOURS, "The cell": CELL}
