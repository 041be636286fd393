"""Where something is in a model."""

from __future__ import annotations

from intravisto_core.sites.choice import Choice
from intravisto_core.sites.model import Capability


class Site(Choice):
    """Where an activation is (docs/methods.md §1). `pattern` and `head_out` are computed from others, never stored."""

    RESID_PRE = "resid_pre", "stream before the block"
    ATTN_OUT = "attn_out", "attention output"
    RESID_MID = "resid_mid", "stream after attention"
    MLP_OUT = "mlp_out", "MLP output"
    RESID_POST = "resid_post", "stream after the block"
    Q = "q", "queries"
    K = "k", "keys"
    V = "v", "values"
    Z = "z", "head values before W_O"
    ACT = "act", "MLP neurons"
    PATTERN = "pattern", "attention pattern"
    HEAD_OUT = "head_out", "what a head writes"

    @property
    def per_head(self) -> bool:
        """Whether the site is split by head (by kv head for `k` and `v`)."""
        return self in (Site.Q, Site.K, Site.V, Site.Z, Site.PATTERN, Site.HEAD_OUT)

    @property
    def is_update(self) -> bool:
        """Whether it is what a part adds to the stream, and no state of it."""
        return self in (Site.ATTN_OUT, Site.MLP_OUT)

    @property
    def edit_capability(self) -> Capability | None:
        """The identity that an edit there rests on; None where it needs none."""
        if self in (Site.Q, Site.K, Site.V, Site.PATTERN):
            return Capability.PATTERN
        return {Site.Z: Capability.HEADS, Site.ACT: Capability.NEURONS}.get(self)

    @property
    def captured(self) -> tuple[Site, ...]:
        """The sites that must be captured for it: itself, unless it is computed from others."""
        return {Site.PATTERN: (Site.Q, Site.K), Site.HEAD_OUT: (Site.Z,)}.get(self, (self,))


class Component(Choice):
    """Which vector of a row a cell decodes (docs/methods.md §1)."""

    BLOCK = "block", "block output", "The stream as it leaves the block: everything written so far."
    MID = "mid", "after attention", "The stream after attention was added, before the MLP."
    ATTENTION = "attention", "attention", "What this block's attention added to the stream."
    MLP = "mlp", "MLP", "What this block's MLP added to the stream."


class Lane(Choice):
    """Which of a block's two writers is meant (docs/methods.md §7)."""

    ATTENTION = "attention", "attention"
    MLP = "mlp", "MLP"


class ScoreEnd(Choice):
    """The two ends of an attention score."""

    QUERY = "query", "query", "The position that looks."
    KEY = "key", "key", "The position that is looked at."
