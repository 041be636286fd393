"""Every declared family in plain transformers with hooks of the tests' own, and what one run of it shows.

Nothing of `intravisto_core` is used here. Where things are is written down a second time, from the models' code and not
from the declarations.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, DynamicCache

MOE = {"qwen3_vl_moe_text", "mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "phimoe", "gpt_oss"}
_LAYERS = {"gpt2": "h", "gpt_neo": "h", "gptj": "h", "bloom": "h", "falcon": "h", "mpt": "blocks"}
_PARALLEL = {"gptj", "phi", "cohere", "cohere2"}

# attn_out, mlp_out, input of W_O, input of W_out, first reader of the middle; of a layer.
LLAMA_PATHS = ("self_attn", "mlp", "self_attn.o_proj", "mlp.down_proj", "post_attention_layernorm")
_POST = ("post_attention_layernorm", "post_feedforward_layernorm", "self_attn.o_proj", "mlp.down_proj")
PATHS: dict[str, tuple[str, ...]] = {
    "gpt2": ("attn", "mlp", "attn.c_proj", "mlp.c_proj", "ln_2"),
    "gpt_neo": ("attn", "mlp", "attn.attention.out_proj", "mlp.c_proj", "ln_2"),
    "gptj": ("attn", "mlp", "attn.out_proj", "mlp.fc_out", ""),
    "gpt_neox": ("attention", "mlp", "attention.dense", "mlp.dense_4h_to_h", "post_attention_layernorm"),
    "opt": ("self_attn", "fc2", "self_attn.out_proj", "fc2", "final_layer_norm"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h", "self_attention.dense", "mlp.dense_4h_to_h", LLAMA_PATHS[4]),
    "falcon": ("self_attention", "mlp", "self_attention.dense", "mlp.dense_4h_to_h", LLAMA_PATHS[4]),
    "mpt": ("attn", "ffn.down_proj", "attn.out_proj", "ffn.down_proj", "norm_2"),
    "phi": ("self_attn", "mlp", "self_attn.dense", "mlp.fc2", ""),
    "starcoder2": ("self_attn", "mlp", "self_attn.o_proj", "mlp.c_proj", LLAMA_PATHS[4]),
    "glm4": ("post_self_attn_layernorm", "post_mlp_layernorm", *LLAMA_PATHS[2:]),
    "gemma2": (*_POST, "pre_feedforward_layernorm"),
    "gemma3_text": (*_POST, "pre_feedforward_layernorm"),
    "olmo2": (*_POST, "mlp"),
    "olmo3": (*_POST, "mlp"),
    "llama4_text": ("self_attn", "feed_forward", "self_attn.o_proj", "", LLAMA_PATHS[4]),
}


def is_parallel(config: Any) -> bool:
    if config.model_type == "falcon":
        return bool(config.parallel_attn or config.new_decoder_architecture)
    return config.model_type in _PARALLEL or bool(getattr(config, "use_parallel_residual", False))


class Plain:
    """The checkpoint in plain transformers, and all that one run of it shows. `sites[name][layer]` is float32."""

    def __init__(self, folder: Path, ids: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        settings = {"attn_implementation": "eager", "dtype": dtype}
        self.whole = AutoConfig.from_pretrained(folder)
        images = hasattr(self.whole, "vision_config")
        loader = AutoModelForImageTextToText if images else AutoModelForCausalLM
        self.model: Any = loader.from_pretrained(folder, **settings).eval()
        self.config = self.model.config.get_text_config()
        self.kind: str = self.config.model_type
        # Its eager code adds ALiBi twice; what people run is sdpa.
        self.twice = self.kind == "falcon" and self.config.alibi
        if self.twice:
            settings["attn_implementation"] = "sdpa"
            self.model = AutoModelForCausalLM.from_pretrained(folder, **settings).eval()
        trunk = self.model.base_model
        if images:
            trunk = trunk.language_model.model if self.kind == "llama4_text" else trunk.language_model
        self.layers = list((trunk.decoder if self.kind == "opt" else trunk).get_submodule(self._layers()).children())
        self.sites: dict[str, list[np.ndarray]] = {}
        with torch.no_grad():
            self._run(ids)

    def _layers(self) -> str:
        return _LAYERS.get(self.kind, "layers")

    def _run(self, ids: tuple[int, ...]) -> None:
        kept: dict[str, list[torch.Tensor]] = {}
        cache = DynamicCache()
        with ExitStack() as stack:
            for layer in self.layers:
                self._listen(stack, layer, kept)
            if self.kind in MOE:
                self.experts = [PlainExperts(self.kind, layer, stack) for layer in self.layers]
            self._listen_queries(stack, kept)
            out = self.model(
                torch.tensor([ids]), past_key_values=cache, use_cache=True, output_attentions=not self.twice
            )
        heads, multiplier = self.config.num_attention_heads, getattr(self.config, "residual_multiplier", 1.0)
        for name in ("attn_out", "mlp_out"):
            kept[name] = [x * multiplier for x in kept[name]]
        kept["z"] = [x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in kept["z"]]
        repeats = self._repeats()
        kept["k"] = [layer.keys[0, ::repeats] for layer in cache.layers]
        kept["v"] = [layer.values[0, ::repeats] for layer in cache.layers]
        self.sites = {name: [x.float().numpy() for x in values] for name, values in kept.items()}
        self.logits = out.logits[0].float().numpy()
        found = self._alibi_patterns(kept) if self.twice else [a[0] for a in out.attentions]
        self.patterns = [x.float().numpy() for x in found]

    def _repeats(self) -> int:
        """Falcon's new decoder keeps each key once for every query head."""
        new = self.kind == "falcon" and self.config.new_decoder_architecture
        return self.config.num_attention_heads // self.config.num_kv_heads if new else 1

    def _listen(self, stack: ExitStack, layer: nn.Module, kept: dict[str, list[torch.Tensor]]) -> None:
        attn_out, mlp_out, w_o, w_out, reader = PATHS.get(self.kind, LLAMA_PATHS)
        inputs = {"resid_pre": "", "z": w_o}
        if w_out and not (self.kind in MOE and hasattr(layer.mlp, "experts")):
            inputs["act"] = w_out
        if not is_parallel(self.config):
            inputs["resid_mid"] = reader

        def keep(name: str, x: Any) -> None:
            x = x[0] if isinstance(x, tuple) else x
            kept.setdefault(name, []).append(x.detach().clone().reshape(-1, x.shape[-1]))

        for name, path in inputs.items():

            def before(_: Any, args: Any, kwargs: Any, name: str = name) -> None:
                keep(name, args[0] if args else kwargs["hidden_states"])

            handle = layer.get_submodule(path).register_forward_pre_hook(before, with_kwargs=True)
            stack.callback(handle.remove)
        for name, path in {"attn_out": attn_out, "mlp_out": mlp_out, "resid_post": ""}.items():

            def after(_: Any, args: Any, out: Any, name: str = name) -> None:
                keep(name, out)

            stack.callback(layer.get_submodule(path).register_forward_hook(after).remove)

    def _listen_queries(self, stack: ExitStack, kept: dict[str, list[torch.Tensor]]) -> None:
        """q, by other means than the tracer's: the modules' own eager functions, replaced for one run."""
        keep: Callable[[torch.Tensor], None] = lambda q: kept.setdefault("q", []).append(q[0].detach().clone())  # noqa: E731
        code = sys.modules[type(self.model).__module__]
        heads = self.config.num_attention_heads
        if self.kind in ("gpt_neo", "gptj"):
            owner = type(self.layers[0].attn.attention if self.kind == "gpt_neo" else self.layers[0].attn)
            inner = owner._attn

            def scores(module: Any, query: Any, *rest: Any) -> Any:
                keep(query)
                return inner(module, query, *rest)

            stack.enter_context(patch.object(owner, "_attn", scores))
        elif self.kind == "falcon" and not self.config.alibi:
            rotate = code.apply_rotary_pos_emb

            def rotated(*args: Any) -> Any:
                q, k = rotate(*args)
                keep(q)
                return q, k

            stack.enter_context(patch.object(code, "apply_rotary_pos_emb", rotated))
        elif self.kind in ("bloom", "falcon", "mpt"):
            for layer in self.layers:
                fused = layer.attn.Wqkv if self.kind == "mpt" else layer.self_attention.query_key_value
                shape, part = ((3, heads, -1), 0) if self.kind == "mpt" else ((heads, 3, -1), 1)

                def split(_: Any, args: Any, out: Any, shape: Any = shape, part: int = part) -> None:
                    keep(out.unflatten(-1, shape).select(2 + part, 0).transpose(1, 2))

                stack.callback(fused.register_forward_hook(split).remove)
        else:
            attention = self.layers[0].get_submodule(PATHS.get(self.kind, LLAMA_PATHS)[2].rpartition(".")[0])
            code = sys.modules[type(attention).__module__]
            eager = code.eager_attention_forward

            def attention(module: Any, query: Any, *rest: Any, **options: Any) -> Any:
                keep(query)
                return eager(module, query, *rest, **options)

            stack.enter_context(patch.object(code, "eager_attention_forward", attention))

    def _alibi_patterns(self, kept: dict[str, list[torch.Tensor]]) -> list[torch.Tensor]:
        """softmax((q·k + slope·distance) / √d) written out."""
        heads = self.config.num_attention_heads
        out = []
        for q, k in zip(kept["q"], kept["k"], strict=True):
            n, d = q.shape[1:]
            slopes = torch.tensor([2 ** (-8 * (h + 1) / heads) for h in range(heads)])
            distance = (torch.arange(n)[None, :] - torch.arange(n)[:, None]).float()
            scores = (q.float() @ k.float().transpose(1, 2) + slopes[:, None, None] * distance) / math.sqrt(d)
            out.append(scores.masked_fill(distance > 0, -torch.inf).softmax(-1))
        return out

    def greedy(self, prompt: tuple[int, ...], n: int, use_cache: bool = True) -> list[int]:
        """The prompt and n ids by transformers' own `generate`."""
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        with torch.no_grad():
            return self.model.generate(
                ids, attention_mask=mask, max_new_tokens=n, do_sample=False, use_cache=use_cache
            )[0].tolist()


class PlainExperts:
    """A mixture of one layer, read from its code: what each expert makes of a position, one position at a time."""

    ROUTERS: ClassVar[dict[str, str]] = {"phimoe": "mlp.router", "gpt_oss": "mlp.router"}

    def __init__(self, kind: str, layer: nn.Module, stack: ExitStack) -> None:
        self.kind, self.mlp = kind, layer.get_submodule("mlp")
        self.sparse = hasattr(self.mlp, "experts")
        if self.sparse:
            router = layer.get_submodule(self.ROUTERS.get(kind, "mlp.gate"))
            stack.callback(router.register_forward_hook(self._routed).remove)

    def _routed(self, _: Any, args: Any, out: Any) -> None:
        self.given = args[0].detach().clone().reshape(-1, args[0].shape[-1])
        self.logits, self.weights, self.chosen = (x.detach().clone() for x in out)

    def act(self, expert: int, x: torch.Tensor) -> torch.Tensor:
        """The input of one expert's last matrix, (d_expert,)."""
        if expert == len(self.mlp.experts.down_proj):
            shared = self.mlp.shared_expert
            return nn.functional.silu(shared.gate_proj.weight @ x) * (shared.up_proj.weight @ x)
        first = self.mlp.experts.gate_up_proj[expert]
        if self.kind != "gpt_oss":
            gate, up = (first @ x).chunk(2)
            return nn.functional.silu(gate) * up
        both = x @ first + self.mlp.experts.gate_up_proj_bias[expert]
        gate, up = both[::2].clamp(max=7.0), both[1::2].clamp(-7.0, 7.0)
        return gate * torch.sigmoid(1.702 * gate) * (up + 1)

    def shared_weight(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.mlp.shared_expert_gate.weight @ x)
