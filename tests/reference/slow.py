"""A literal, slow reading of docs/methods.md §3 to §5: float64, one cell at a time, nothing shared.

Nothing of `intravisto_core` is used here: tables, norms and caps are taken from the transformers model, the
stream from `plain.Run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.reference.plain import Run

Vector = np.ndarray


def default_policy(component: str, lens: str, reading: str = "top") -> str:
    """§3: updates and differences take the scale of the stream; the input lens is read without γ and β."""
    if component in ("attention", "mlp") or reading == "difference":
        return "stream"
    return "norm_only" if lens == "input" else "final"


@dataclass
class Decoder:
    """A model's tables and final norm, in float64."""

    embed: np.ndarray
    unembed: np.ndarray
    bias: np.ndarray
    gamma: Vector
    beta: Vector
    eps: float
    centred: bool
    scale: float
    soft_cap: float
    n_layers: int

    @classmethod
    def of(cls, model: Any) -> Decoder:
        config = model.config
        gpt2 = config.model_type == "gpt2"
        norm = model.transformer.ln_f if gpt2 else model.model.norm
        gamma = norm.weight.detach().double().numpy() + (1.0 if config.model_type == "gemma2" else 0.0)
        unembed = model.get_output_embeddings().weight.detach().double().numpy()
        return cls(
            embed=model.get_input_embeddings().weight.detach().double().numpy(),
            unembed=unembed,
            bias=np.zeros(len(unembed)),
            gamma=gamma,
            beta=norm.bias.detach().double().numpy() if gpt2 else np.zeros_like(gamma),
            eps=config.layer_norm_epsilon if gpt2 else config.rms_norm_eps,
            centred=gpt2,
            scale=1.0 / getattr(config, "logits_scaling", 1.0),
            soft_cap=getattr(config, "final_logit_softcapping", None) or 0.0,
            n_layers=config.num_hidden_layers,
        )

    def sigma(self, x: Vector) -> float:
        x = x - x.mean() if self.centred else x
        return float(np.sqrt((x**2).mean() + self.eps))

    def mean_off(self, x: Vector) -> Vector:
        return x - x.mean() if self.centred else x

    def normed(self, x: Vector, policy: str, stream: Vector) -> Vector:
        """x̂ of the table of norm policies."""
        if policy == "final":
            return self.gamma * self.mean_off(x) / self.sigma(x) + self.beta
        if policy == "norm_only":
            return self.mean_off(x) / self.sigma(x)
        if policy == "stream":
            return self.gamma * self.mean_off(x) / self.sigma(stream)
        return x

    def cap(self, logits: Vector) -> Vector:
        logits = logits * self.scale
        return self.soft_cap * np.tanh(logits / self.soft_cap) if self.soft_cap else logits

    def logits(self, xhat: Vector, lens: str, row: int, update: bool = False) -> Vector:
        """The lens's logits; of an update without soft-cap and without bias."""
        bias = 0.0 if update else self.bias
        out, inp = self.unembed @ xhat + bias, self.embed @ xhat
        a = row / (self.n_layers + 1)
        mixed = {
            "output": lambda: out,
            "input": lambda: inp,
            "linear": lambda: (1 - a) * inp + a * out,
            "quadratic": lambda: (1 - a**2) * inp + a**2 * out,
            "max": lambda: out if softmax(self.cap(out)).max() >= softmax(self.cap(inp)).max() else inp,
        }[lens]()
        return mixed * self.scale if update else self.cap(mixed)

    def winner(self, xhat: Vector) -> str:
        out, inp = self.cap(self.unembed @ xhat + self.bias), self.cap(self.embed @ xhat)
        return "output" if softmax(out).max() >= softmax(inp).max() else "input"

    def table(self, lens: str, row: int, winner: str = "output") -> np.ndarray:
        """M: the lens's table at a row."""
        a = row / (self.n_layers + 1)
        return {
            "output": self.unembed,
            "input": self.embed,
            "linear": (1 - a) * self.embed + a * self.unembed,
            "quadratic": (1 - a**2) * self.embed + a**2 * self.unembed,
            "max": self.unembed if winner == "output" else self.embed,
        }[lens]

    def direction(self, table: np.ndarray, token: int) -> Vector:
        """ê_t of a table."""
        u = self.gamma * (table[token] - table.mean(axis=0))
        u = self.mean_off(u)
        return u / np.linalg.norm(u)


def close(got: np.ndarray, reference: np.ndarray, tolerance: float = 1e-4) -> None:
    """Assert that fp32 results are those of the literal reading; blanks must be blank in both."""
    np.testing.assert_allclose(got, reference, rtol=tolerance, atol=tolerance, equal_nan=True)


def softmax(z: Vector) -> Vector:
    e = np.exp(z - z.max())
    return e / e.sum()


def log_softmax(z: Vector) -> Vector:
    z = z - z.max()
    return z - np.log(np.exp(z).sum())


def entropy(z: Vector) -> float:
    p = softmax(z)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def kl(z: Vector, other: Vector) -> float:
    """KL(softmax z ‖ softmax other), nats."""
    return float((softmax(z) * (log_softmax(z) - log_softmax(other))).sum())


@dataclass
class Cells:
    """The vectors of a trace by heatmap row, and how a cell of it is read."""

    decoder: Decoder
    run: Run

    def stream(self, row: int, position: int) -> Vector:
        """The stream of rows 0 to L."""
        sites = self.run.sites
        x = sites["resid_pre"][0] if row == 0 else sites["resid_post"][row - 1]
        return x[position].astype(np.float64)

    def vector(self, component: str, row: int, position: int) -> Vector | None:
        """The component's vector at a row, None where the cell is blank."""
        last = self.decoder.n_layers + 1
        if component == "block":
            if row < last:
                return self.stream(row, position)
            x = self.stream(last - 1, position)
            return self.decoder.normed(x, "final", x)
        if row in (0, last):
            return None
        site = {"mid": "resid_mid", "attention": "attn_out", "mlp": "mlp_out"}[component]
        return self.run.sites[site][row - 1][position].astype(np.float64)

    def xhat(self, component: str, policy: str, row: int, position: int) -> Vector | None:
        x = self.vector(component, row, position)
        if x is None or row == self.decoder.n_layers + 1:
            return x
        return self.decoder.normed(x, policy, self.stream(row, position))

    def logits(self, component: str, lens: str, policy: str, row: int, position: int) -> Vector | None:
        x = self.xhat(component, policy, row, position)
        return None if x is None else self.decoder.logits(x, lens, row, update=policy == "stream")

    def iterative(
        self, component: str, lens: str, row: int, position: int, least: float = 0.01
    ) -> tuple[list[int], list[float]]:
        """Second reading of §4 under the final norm: tokens and their coefficients ⟨x, ê_t⟩."""
        decoder = self.decoder
        x = self.vector(component, row, position)
        assert x is not None
        sigma, start = decoder.sigma(x), np.linalg.norm(x)
        table = decoder.table(lens, row, decoder.winner(decoder.normed(x, "final", x)))
        tokens: list[int] = []
        coefficients: list[float] = []
        while len(tokens) < 5:
            xhat = decoder.gamma * decoder.mean_off(x) / sigma + decoder.beta
            token = int((table @ xhat).argmax())
            direction = decoder.direction(table, token)
            c = float(x @ direction)
            too_small = c <= 0 or c < least * start
            # The first token is what the cell says, so it is listed even where nothing can be taken out.
            if token in tokens or (too_small and tokens):
                break
            tokens.append(token)
            coefficients.append(c)
            if too_small:
                break
            x = x - c * direction
        return tokens, coefficients

    def parts(self, layer: int, position: int) -> tuple[dict[str, Vector], dict[str, Vector]]:
        """Both junctions of a serial block: their parts by name."""
        at = {
            name: values[layer][position].astype(np.float64)
            for name, values in self.run.sites.items()
            if values[layer].ndim == 2
        }
        return (
            {"residual": at["resid_pre"], "attention": at["attn_out"]},
            {"residual": at["resid_mid"], "mlp": at["mlp_out"]},
        )

    def shares(self, measure: str, parts: dict[str, Vector]) -> dict[str, float]:
        """§5, one junction."""
        whole = sum(parts.values())
        read = lambda x: self.decoder.logits(self.decoder.normed(x, "final", x), "output", 0)  # noqa: E731
        if measure == "projection":
            return {n: float(p @ whole / (whole @ whole)) for n, p in parts.items()}
        if measure == "norm":
            raw = {n: float(np.linalg.norm(p)) for n, p in parts.items()}
        elif measure == "kl":
            raw = {n: kl(read(whole), read(whole - p)) for n, p in parts.items()}
        elif measure == "l1":
            raw = {n: max(np.abs(whole).sum() - np.abs(whole - p).sum(), 0.0) for n, p in parts.items()}
        else:
            a, b = parts
            raw = {a: kl(read(whole), read(parts[b])), b: kl(read(whole), read(parts[a]))}
        total = sum(raw.values())
        return {n: (v / total if total > 0 else np.nan) for n, v in raw.items()}
