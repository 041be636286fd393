"""The Llama that is trained: the same mathematics as `LlamaForCausalLM`, arranged to be fast on two cores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EMBEDDING_SCALE, _HEAD_SCALE = 0.3, 0.06


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network. `context` is the longest text that it is trained on, in tokens."""

    vocabulary: int
    d_model: int = 128
    n_layers: int = 6
    n_heads: int = 4
    d_mlp: int = 352
    context: int = 128
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads


class RMSNorm(nn.Module):
    """Root-mean-square norm with a learned scale, over the last axis."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; one product for q, k and v."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_heads, self.d_head = shape.n_heads, shape.d_head
        width = shape.d_model
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        """(batch, pos, d_model) to the same; `mask` (pos, pos) is minus infinity above the diagonal.

        Plain products: at this size they are faster on a CPU, there and back, than the fused attention.
        """
        batch, positions, width = x.shape
        weights = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        qkv = functional.linear(x, weights).view(batch, positions, 3, self.n_heads, self.d_head)
        qkv = qkv.permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2)
        (q, k), v = rotate(qkv[:2], cosine, sine), qkv[2]
        scores = torch.baddbmm(mask, q, k.mT, alpha=1 / math.sqrt(self.d_head))
        z = scores.softmax(dim=-1) @ v
        z = z.view(batch, self.n_heads, positions, self.d_head).transpose(1, 2)
        return self.o_proj(z.reshape(batch, positions, width))


class MLP(nn.Module):
    """Gated MLP; one product for gate and up."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.d_model, shape.d_mlp, bias=False)
        self.up_proj = nn.Linear(shape.d_model, shape.d_mlp, bias=False)
        self.down_proj = nn.Linear(shape.d_mlp, shape.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, pos, d_model) to the same."""
        both = functional.linear(x, torch.cat([self.gate_proj.weight, self.up_proj.weight]))
        gate, up = both.chunk(2, dim=-1)
        return self.down_proj(functional.silu(gate) * up)


class Block(nn.Module):
    """One layer: attention and MLP, each added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.d_model, shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.d_model, shape.norm_epsilon)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        """(batch, pos, d_model) to the same."""
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """The whole model. Its parameters have the names that transformers gives them, less `model.`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.d_model)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.norm = RMSNorm(shape.d_model, shape.norm_epsilon)
        self.lm_head = nn.Linear(shape.d_model, shape.vocabulary, bias=False)
        cosine, sine = rotary_angles(shape)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Random weights, arranged so that two things that the tasks need do not have to be found first.

        All embeddings share a direction, from which heads of the first layer can attend by place alone. The
        output head begins as the embeddings less what they share, so that a head that passes on what it
        attends to already says that token: copying, and with it induction, is learnt many times sooner.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() != 2:
                continue
            scale = 0.6 / math.sqrt(parameter.shape[1])
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale = 1 / math.sqrt(2 * self.shape.n_layers * parameter.shape[1])
            elif name == "embed_tokens.weight":
                scale = _EMBEDDING_SCALE
            nn.init.normal_(parameter, std=scale)
        with torch.no_grad():
            embeddings = self.embed_tokens.weight
            self.lm_head.weight.copy_(embeddings * (_HEAD_SCALE / _EMBEDDING_SCALE))
            embeddings += _EMBEDDING_SCALE * torch.randn(self.shape.d_model)

    def final_stream(self, ids: Tensor) -> Tensor:
        """The residual stream after the last block, (batch, pos, d_model)."""
        positions = ids.shape[1]
        cosine, sine = self.get_buffer("cosine")[:positions], self.get_buffer("sine")[:positions]
        mask = torch.full((positions, positions), -torch.inf).triu(1)
        stream = self.embed_tokens(ids)
        for block in self.layers:
            stream = block(stream, cosine, sine, mask)
        return stream

    def decode(self, stream: Tensor) -> Tensor:
        """Logits, (..., vocabulary), of a residual stream (..., d_model)."""
        return self.lm_head(self.norm(stream))

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, (batch, pos, vocabulary)."""
        return self.decode(self.final_stream(ids))


def rotary_angles(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles, each (context, d_head)."""
    rates = shape.rope_theta ** -(torch.arange(0, shape.d_head, 2).float() / shape.d_head)
    angles = torch.outer(torch.arange(shape.context).float(), rates)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """`x` (…, pos, d_head) turned by its positions' angles; the two halves of a head are the planes' axes."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine
