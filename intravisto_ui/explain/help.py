"""The help of the explain page: what its card shows, how to read it, how it is computed, where it misleads."""

from __future__ import annotations

EXPLAIN = """
**What it shows.** One token, and where it comes from: which words of the text it uses, in which layer it comes up, and
which attention heads and MLPs add to its score. The sentences at the top say the same in words; they are made by fixed
rules from the numbers below.

**How to read it.** *Which words it uses*: the darker a word, the more all heads together bring from it to this place.
A green arc leads from a word to the heads that look at it and add most. The line under the words says what is left of
the answer when this position cannot see the word. *When it comes up*: how the token climbs through the ranks, one step
for each attention and each MLP; rank 1 is the top. Rings mark the steps that matter. *Who adds to it*: every head and
MLP as a cell of the map, the ten largest as rows. A row says what the part adds, which word the head looks at, which
tokens it writes (▲) or pushes down (▼), and what is left of the answer without it.

**What to do with it.** Click another token in the text above to explain that one. Type a target, or a token to compare
with, in the question beside it; *against* then asks why this token and not that one. A click on a word, a ring or a
part leads to the page where it can be seen closer. *Ablate* puts the part among the edits. *Saliency of every token*,
under the card, shades the text by how much the token's score depends on each of its tokens: blue raises it, orange
lowers it.
"""

COMPUTED = """
**Adds** is the direct effect on the token's score (logit) at the final norm's scale in this run. All parts and the rest
add up to the score exactly. Alone, the score is held against the mean of all tokens; against a contrast, both scores
are subtracted.

**The shade of a word** is the sum, over all layers and heads, of the sizes of what a head brings from it. What a head
would move from any word alike is left out. Attention sinks (position 0, and others that are found) are set aside: heads
look there when they have nothing to do.

**When it comes up**: the stream after each attention and MLP, read by the final norm and the output table. The largest
jump is looked for while the token is still below rank 100.

**Writes**: the tokens whose directions lie at the smallest angle to what the part added. Words are pale where the token
itself stands below rank 1,000 among them: the part then does not write it.

**Without it** and **if hidden** are tests: the model is run again without what this part writes at this position, or
with this position unable to see the word in any layer. The ten largest parts and at most 17 words are tested.

**Saliency.** *Gradient × input*: the slope of the score at a token's embedding, times the embedding. *Integrated
gradients*: the mean slope on the straight way from mean embeddings to the text's own, times that way; position 0 and
special tokens stay as they are. *Occlusion*: the score less its mean with four other tokens in the place.
"""

MISLEADS = """
What a part *adds* is bookkeeping, not a cause: what it prepares for later layers is not counted, and another part may
take its place when it is gone. That is why the tests stand beside it, and why the two may disagree. Among fifty prompts
of a small model the shade of the words agreed with a test of them at a rank correlation of .66: a good guess, no proof.

A slope says what a very small change would do, and the way of integrated gradients leads through texts that nobody
writes. Methods of saliency often disagree with each other.

A test takes one thing away. Two parts that can stand in for each other both look harmless.

All of it is one prompt. A claim about the model needs many.
"""

PAGES = {"The card": EXPLAIN, "How it is computed": COMPUTED, "Where it misleads": MISLEADS}
