"""What torch's functions do to the numbers that they are given, as far as the flow of data needs to know it."""

from __future__ import annotations

from functools import cache
from typing import Any


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The same numbers in another shape, place or precision: what they give comes from where their input came from.
SAME_NUMBERS = _names(
    "view view_as reshape reshape_as transpose swapaxes swapdims movedim moveaxis permute contiguous to type type_as "
    "float double half bfloat16 int long bool cpu cuda expand expand_as broadcast_to unsqueeze squeeze flatten ravel "
    "unflatten getitem select narrow index_select split split_with_sizes chunk tensor_split unbind hsplit vsplit "
    "detach clone alias t adjoint requires_grad repeat repeat_interleave tile pin_memory unfold as_strided "
    "atleast_1d atleast_2d atleast_3d positive resolve_conj lift_fresh real data T mT H mH"
)
# Only the shape, type or place of what they are given counts.
NOTHING_OF_IT = _names(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty new_full "
    "new_tensor new_empty_strided grad"
)
# What comes from their first argument is written over.
OVERWRITING = _names("copy fill zero normal uniform")
# Names of one operation under which torch knows it too.
OTHER_NAMES = {"truediv": "div", "floordiv": "floor_divide", "invert": "not"}
# Products of which attention is made.
PRODUCTS = _names("matmul bmm baddbmm einsum")
ATTENTION = _names("scaled_dot_product_attention flex_attention multi_head_attention_forward")
# What a group of functions is called after, where it has one of these.
TELLING = PRODUCTS | _names(
    "grouped_mm linear conv1d conv2d conv3d softmax log_softmax topk mul add sub sum mean cat index_add relu gelu silu "
    "sigmoid tanh layer_norm rms_norm batch_norm embedding max_pool2d avg_pool2d adaptive_avg_pool2d interpolate"
)
PLAIN = _names("add sub mul sum mean cat")
_INFIX = _names("add sub mul div truediv floordiv mod pow matmul and or xor lshift rshift")


@cache
def name_function(function: Any) -> tuple[str, bool]:
    """What a function of torch is called in a picture, and whether it writes into its first argument.

    `Tensor.__iadd__`, `Tensor.add_` and `torch.add` are all "add".
    """
    name = getattr(function, "__name__", "") or type(function).__name__
    if name == "__get__":  # a property of tensors, as `x.T`
        return getattr(getattr(function, "__self__", None), "__name__", "get"), False
    if name.startswith("__") and name.endswith("__"):
        bare = name[2:-2]
        other = bare[1:] if bare[1:] in _INFIX else ""
        plain = other if other and bare[0] in "ir" else bare
        return OTHER_NAMES.get(plain, plain), bare == "setitem" or (bool(other) and bare[0] == "i")
    plain = name.strip("_")
    return OTHER_NAMES.get(plain, plain), name.endswith("_")


def keeps_numbers(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a function gives the numbers that it was given; dropout does outside of training."""
    if name in SAME_NUMBERS:
        return True
    training = kwargs.get("training", args[2] if len(args) > 2 else None)
    return "dropout" in name and training is False
