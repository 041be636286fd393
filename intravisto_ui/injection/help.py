"""The texts behind the “?” of the injection page, and of its form."""

from __future__ import annotations

from collections.abc import Iterable

from intravisto_core.sites import TokenVector

INJECTION = """
**What it shows.** The heatmap tells what a state looks like; it does not tell whether that state matters. Here you
change something inside the model, let the same prompt run again, and see what follows.

**How to do it.** Make an edit at the left: what is done, at which layer, at which tokens. Each edit is a card;
those that are on are run together, in the order of the forward pass and, at one place, in the order of the cards.
*Run* makes two runs: one in which the model reads exactly the same text (all numbers come from it, so every
position can be compared), and one in which it writes on freely after the prompt.

**How to read it.** At the top both texts. Below, the lead of one token over another (the answer and its runner-up,
if you name none) at the end of the prompt. In the *difference map* each cell shows the edited run's top token,
coloured by how far the cell moved; outlines mark where you edited. Below an edit in the picture nothing can have
changed.

**The noise floor** is how far the numbers move when nothing is changed on the same path. An effect near it is none.
"""

OPERATIONS = """
- *Inject a token*: a vector that stands for the token takes the place of what was there. *Whitened* is the one that
  reads back as the token: a token's own row has much in common with all other rows, and often reads back as another
  token. The tables' rows are on offer too: the output table's (what the model would say), the input table's (what it
  would read), or a mix of both. *Main component* swaps only the part along the cell's present top token and keeps the
  rest. The form tells what the new vector will read back as.
- *Ablate*: a part is taken away (zero), or its mean over this text or over prompts of yours, or another prompt's
  value is put in its place. Zero is a strong change: the model has never seen it. The others are milder.
- *Steer*: a direction is added. A strength of 1 is the usual length of the stream there.
- *Patch*: values of another prompt are put in, of the same place or of other tokens and layers.
- *Attention*: some tokens no longer see others; the rest of what they see counts more. *Freeze* keeps who looks
  where as it was, so that only what is moved can change.
"""

MISLEADS = """
- An effect shows that the place matters for *this* prompt. Try it on others before you call it a mechanism.
- A large edit breaks anything. Compare with an edit of the same size elsewhere, or of a random direction.
- Later layers may make good for what was taken away; then a part that does matter shows no effect.
- A vector that reads back as a token is no promise that the model then says it. Below the top, the layers above read
  the vector in ways of their own: a raw row and a whitened vector may end in the same text.
- The injected token need not become the cell's top token. The form says so before the run, the card after it.
"""

PAGES = {"Editing": INJECTION, "The operations": OPERATIONS, "Where it misleads": MISLEADS}

KINDS = (
    "**inject a token**: put a token's vector into the stream.  \n**ablate**: take a part away, or put its mean or "
    "another text's value in its place.  \n**steer**: push the stream along a direction, or take a direction out.  \n"
    "**patch**: put in what another prompt has there.  \n**scale, set**: multiply a part, or set it to a number.  \n"
    "**attention**: forbid looks from tokens to tokens, or freeze the pattern as it was."
)
ABLATIONS = (
    "**zero**: nothing.  \n**mean over this text**: what the part writes on average, over all positions.  \n"
    "**mean over prompts**: the same over texts that you list; what they have in common stays, what this text says is "
    "gone.  \n**resampled from a prompt**: what another prompt has at the same position."
)
STRATEGIES = (
    "**completely**: the whole vector gives way to the token's.  \n**the main component**: only the "
    "part along the cell's present top token does; the rest stays."
)


def describe_vectors(offered: Iterable[TokenVector]) -> str:
    """Each of the vectors that can stand for a token, explained."""
    return "  \n".join(f"**{vector.label}**: {vector.help}" for vector in offered)


READ_LENSES = (
    "Under which lens the vector reads back as the token. The output lens is the one that the heatmap opens with."
)
DECODERS = (
    "Which table the token's vector comes from: the output table (what the model would say), the input table (what it "
    "would read), or a mix that goes from input at the bottom to output at the top."
)
