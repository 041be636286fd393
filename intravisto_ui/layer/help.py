"""The help of the page of a layer: what it shows, how to read it, how it is computed, where it misleads."""

from __future__ import annotations

LAYER = """
**What it shows.** One layer at one position of the text. The blue ribbon is the stream: what the layer was given, at
the left, and what it hands on, at the right. Two lanes write to it. *Attention*: tokens of the text → heads → their
sum. *MLP*: neurons, the largest apart and all others as one row → their sum. The cards above the ribbon say what the
model would predict from the stream at each place.

**How to read it.** A row is a head or a neuron: its width, how high the target stands in what it writes (blue: near the
first, orange: near the last), and the tokens that it writes. Left of a neuron stand tokens that its gate reads. Widths
are on one scale in each lane; where a lane joins the ribbon, on the ribbon's. Hatched: it pulls the other way. The
line at the bottom says how much of the whole the rows are.

**What to do with it.** Click a head or a neuron: its card opens below. The bars at the top show the target's rank after
each layer; a click goes there. Arrow keys: up and down to other layers, left and right along the text. *Width* also
chooses which rows there are: the largest by this measure. *Ablate* runs the text without the part; *Double* with
twice of it; *Test this* asks whether it matters on other prompts too; *Attention* opens a head on its page. *Find
neurons* lists the largest of this layer or of all, and those that promote a token.
"""

COMPUTED = """
**Size**: the length of what a part adds to the stream. **Pull**: what that adds directly to the target's logit above
the mean of all tokens, at the final norm's scale in this run; *against*: less the contrast's. Pulls add up exactly,
from tokens to heads to the stream; sizes do not, since parts write against each other.

**Rank**: the target's place among all tokens by the change of logit that the part writes. **Tokens** are listed by the
angle between what a part writes and each token's direction: by product, the same few rare tokens with long rows head
every list. **Without it**: the stream after the lane joined, less the part, read again.

**A head's card**: what it takes from each token is the attention weight times the length of what the value brings.
*Finds in the text*: tokens with the highest scores. *Q looks for*, *K answers to*: directions of the score, with
positions turned back. *V takes*: what in the stream of its largest source makes the value; *OV writes*: what that value
would write. **A neuron's card**: activation = act(gate) × up. What fires it splits the gate's input exactly over
everything that was written to the stream before.

**Features** come from a dictionary: a sparse autoencoder or transcoder that was trained on this model elsewhere. Its
active features, its bias and its *reconstruction error* (what it leaves out) add up to the place that it makes again.
Where the error is long, the features tell little.
"""

MISLEADS = """
A pull is bookkeeping: it says nothing about what later layers do with a part. *Ablate* runs the model and may say
something else.

The MLP is diffuse. In a real model half of its size lies in tens to hundreds of neurons, and the ten largest may pull
the other way than all others together. Look at the row of the others first.

Tokens are one reading of a direction, in the first half of the layers often a poor one. What a query looks for reads
poorly throughout: the text's own tokens say more.
"""

PAGES = {"The picture": LAYER, "How it is computed": COMPUTED, "Where it misleads": MISLEADS}
