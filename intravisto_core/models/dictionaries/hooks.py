"""Which place of a model a dictionary's config names, in the words of the programs that write such configs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from intravisto_core.errors import ModelError, expected
from intravisto_core.sites import Site


class Form(Enum):
    """What a dictionary reads or writes at a site.

    WHOLE: the site as it is. NORMED: the stream through the norm before the MLP. UNSCALED: the same without that norm's
    scale and shift. PROJECTED: what the MLP gives before a norm that may stand between it and the stream.
    """

    WHOLE = "whole"
    NORMED = "normed"
    UNSCALED = "unscaled"
    PROJECTED = "projected"


@dataclass(frozen=True, slots=True)
class Hook:
    """A place of a model. site: for NORMED and UNSCALED `resid_mid`, the stream that a serial block's MLP reads."""

    site: Site
    layer: int
    form: Form = Form.WHOLE

    @property
    def said(self) -> str:
        """In words."""
        forms = {
            Form.NORMED: "what the MLP reads",
            Form.UNSCALED: "what the MLP reads, without the norm's scale",
            Form.PROJECTED: "MLP output",
        }
        return forms.get(self.form, self.site.label)


_TRANSFORMER_LENS = {
    "hook_resid_pre": (Site.RESID_PRE, Form.WHOLE),
    "hook_resid_mid": (Site.RESID_MID, Form.WHOLE),
    "hook_resid_post": (Site.RESID_POST, Form.WHOLE),
    "hook_attn_out": (Site.ATTN_OUT, Form.WHOLE),
    "hook_mlp_out": (Site.MLP_OUT, Form.WHOLE),
    "attn.hook_z": (Site.Z, Form.WHOLE),
    "ln2.hook_normalized": (Site.RESID_MID, Form.UNSCALED),
    "mlp.hook_in": (Site.RESID_MID, Form.NORMED),
    "mlp.hook_out": (Site.MLP_OUT, Form.PROJECTED),
}
_MODULES = {
    "output": (Site.RESID_POST, Form.WHOLE),
    "self_attn.o_proj.input": (Site.Z, Form.WHOLE),
    "pre_feedforward_layernorm.output": (Site.RESID_MID, Form.NORMED),
    "post_feedforward_layernorm.output": (Site.MLP_OUT, Form.WHOLE),
    "mlp.output": (Site.MLP_OUT, Form.PROJECTED),
}
_BLOCK = re.compile(r"(?:blocks\.(?P<layer>\d+|\{layer\})\.)?(?P<rest>[\w.]+)", re.ASCII)
_MODULE = re.compile(r"[a-z_.]*\.(?:layers|h)\.(?P<layer>\d+)\.(?P<rest>[\w.]+)", re.ASCII)
# this name stands for the stream before the norm in one program, and after it in another
_UNCLEAR = "hook_mlp_in"


def read_hook(name: object, where: str, layer: int | None = None) -> Hook:
    """The place that a config names. layer: where the name leaves it out, as in a set of one dictionary a layer.

    Raises:
        ModelError: it names none that is known, or one that stands for two.
    """
    text = name if isinstance(name, str) else ""
    for pattern, places in ((_MODULE, _MODULES), (_BLOCK, _TRANSFORMER_LENS)):
        found = pattern.fullmatch(text)
        if found is None or found["rest"] not in places:
            continue
        number = layer if found["layer"] in (None, "{layer}") else int(found["layer"])
        if number is not None and layer in (None, number):
            return Hook(places[found["rest"]][0], number, places[found["rest"]][1])
    if text.endswith(_UNCLEAR):
        raise ModelError(
            f"{where}: {text}: some programs call the stream before the MLP's norm so, others what comes out of that "
            "norm, so that what it reads cannot be told. Choose a dictionary that names the place otherwise"
        )
    known = f"a place such as blocks.3.hook_resid_post: one of {', '.join(_TRANSFORMER_LENS)}"
    raise ModelError(expected(f"{where}: hook", known, name, "Choose a dictionary of another place"))
