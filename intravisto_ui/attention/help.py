"""The help of the attention page."""

ATTENTION = """
**What it shows.** Each head of each layer shares out its attention: every token (the *query*) looks at itself and at
tokens before it (the *keys*), and its weights add up to 100 %. All of these numbers together are one block: layer ×
head × query × key. The page shows four slices of it, and the pointer moves all of them.

**How to read it.** *Text*: green is what the token under the pointer looks at, violet is what looks at it. Both stand
in one text, or side by side under *two*. A double click on a token freezes a reading there; a click on its pill frees
it. *Heads*: a bar a head says what kinds of tokens it looks at; its colours are under the map. *This link* shows how
strongly each head looks from the query to the key. *Matrix*: all tokens down look at all tokens across. *Heads ×
keys*: what one token takes, head by head. Click a head to see it everywhere; with Shift several are averaged. `all`,
`layer 17` and `L17H3` can be typed.

**Why here.** The score of a query and a key is a sum over pairs: a part of the stream at the query times a part at
the key. The table shows the six largest parts at each end; the others are summed. The score stands less the mean of the
other keys, or less one other key that you choose: why this key and not that one. Names of heads lead to that head at
that position: where an earlier head brought the information, one click goes there. *Cut this* says what the weight is
without a part: predicted from the table, measured for this head alone, and with the part gone for all that read it.

**How it is computed.** Weights are the model's own, read from its queries and keys. *Value-weighted* multiplies each
weight with the length of what is moved; *projection* asks how much of it lies along all that the head wrote.
Attention sinks are positions that heads look at when they have nothing to do. They are measured in each layer and
hidden at first; the line above the picture names them, and says how much they have. Colours of the text start at full
strength for the strongest link in sight, but never below 10 %; a matrix has one scale, with a square root. Scores on
random tokens come from texts of random tokens that are said twice. In a chat the template's tokens stand as one chip
in the text, with what the reading has on all of them; matrix and lanes keep them.

**Where it misleads.** A large weight moves little where the value is small, and what is moved may be ignored later:
weights are no causes. *Hide, renormalise* shows noise in full colour where the sinks had nearly all: rows fade by
what is left. A mean over heads shows what no single head does. In *why here* the norms are held as they were, and the
mean over the other keys is a convention: another reference gives other numbers.
"""
