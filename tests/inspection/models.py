"""Tiny modules of many kinds, each with the arguments of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

SMALL = {
    "num_hidden_layers": 3,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IDS = torch.tensor([[3, 1, 4, 1, 5]])
PIXELS = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)


class Twice(nn.Module):
    """Calls one layer two times."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(torch.relu(self.fc(x))))


@dataclass
class Answer:
    """What a module may return."""

    scores: Tensor
    label: str = "a"


class Named(nn.Module):
    """Gives a dict, and takes it apart; gives a dataclass in the end."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, *, image: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
            return {"left": self.left(image), "more": [self.right(image)], "n": 3}

    def __init__(self) -> None:
        super().__init__()
        self.part, self.head = self.Part(), nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Answer:
        parts = self.part(image=x, mask=mask)
        return Answer(self.head(parts["left"] * parts["more"][0]))


class InPlace(nn.Module):
    """Writes into what it has: by `+=`, by an index, into a view, by a module that works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y += self.b(x)
        self.act(y)
        y[:, 0] = self.c(x)[:, 0]
        y.view(-1)[:4].add_(self.d(x)[0, 0])
        return y


class Hidden(nn.Module):
    """Hands a tensor over without anybody seeing: one module keeps it, another one takes it."""

    class Keeper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.kept = self.inner(x)
            return x * 2

    class Taker(nn.Module):
        def __init__(self, keeper: nn.Module) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.others = [keeper]

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + self.others[0].kept

    def __init__(self) -> None:
        super().__init__()
        self.keeper = self.Keeper()
        self.taker = self.Taker(self.keeper)

    def forward(self, x: Tensor) -> Tensor:
        return self.taker(self.keeper(x))


class Failing(nn.Module):
    """Fails in the function of its second layer."""

    class Layer(nn.Module):
        def __init__(self, fails: bool) -> None:
            super().__init__()
            self.fc, self.fails = nn.Linear(4, 4), fails

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            return y @ torch.ones(3, 3) if self.fails else y + x

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(self.Layer(i == 1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Diffusion(nn.Module):
    """A block of a diffusion model: the step's vector is added to each picture, and an early one is joined on again."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.enter = nn.Linear(4, 4), nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.norm, self.leave = nn.GroupNorm(2, 8), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, sample: Tensor, *, timestep: Tensor) -> Tensor:
        step = self.time(torch.cat([timestep.sin(), timestep.cos()], -1))[:, :, None, None]
        early = self.enter(sample)
        late = nn.functional.interpolate(self.down(early) + step, scale_factor=2.0)
        return self.leave(self.norm(torch.cat([early, late], 1)))


def build(name: str) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """A module, and what it is called with."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4)
    text: dict[str, Any] = {"input_ids": IDS}
    if name == "llama":
        config = transformers.LlamaConfig(**SMALL, num_key_value_heads=1, tie_word_embeddings=True)
        return transformers.LlamaForCausalLM(config).eval(), (), text
    if name == "gpt2":
        config = transformers.GPT2Config(
            n_layer=2, n_embd=16, n_head=2, vocab_size=50, n_positions=16, bos_token_id=1, eos_token_id=2
        )
        return transformers.GPT2LMHeadModel(config).eval(), (), text
    if name == "neox":
        return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SMALL)).eval(), (), text
    if name == "qwen3_moe":
        more = {"num_key_value_heads": 1, "head_dim": 8, "num_experts": 8, "num_experts_per_tok": 2}
        config = transformers.Qwen3MoeConfig(**SMALL, **more, moe_intermediate_size=8)
        return transformers.Qwen3MoeForCausalLM(config).eval(), (), text
    if name == "vit":
        size = {k: v for k, v in SMALL.items() if k not in ("vocab_size", "bos_token_id", "eos_token_id")}
        config = transformers.ViTConfig(**size, image_size=16, patch_size=8, num_labels=3)
        return transformers.ViTForImageClassification(config).eval(), (), {"pixel_values": PIXELS}
    if name == "resnet":
        config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[2, 2], num_labels=3)
        return transformers.ResNetForImageClassification(config).eval(), (), {"pixel_values": PIXELS}
    if name == "detector":
        size = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
        config = transformers.YolosConfig(**size, image_size=[16, 16], patch_size=8, num_detection_tokens=3)
        return transformers.YolosForObjectDetection(config).eval(), (), {"pixel_values": PIXELS}
    if name == "t5":
        config = transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=3, num_heads=2, vocab_size=50)
        model = transformers.T5ForConditionalGeneration(config).eval()
        return model, (), {**text, "decoder_input_ids": IDS[:, :3], "use_cache": False}
    if name == "diffusion":
        return Diffusion(), (PIXELS,), {"timestep": torch.tensor([[0.3, 1.7]])}
    if name == "sequential":
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (x,), {}
    own = {"twice": Twice, "named": Named, "in_place": InPlace, "hidden": Hidden, "failing": Failing}
    return own[name](), (x, torch.ones(2, 3)) if name == "named" else (x,), {}
