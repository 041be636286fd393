"""Whitened vectors read back as their token (docs/methods.md §8): the formula, the families, and what cannot win."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import intravisto_core as iv
from intravisto_core.analysis.ascent import climb
from intravisto_core.analysis.read_back import PlaceReading
from intravisto_core.analysis.whitening import accumulate_covariance, list_pairs, make_whitener
from intravisto_core.architectures import NormKind
from intravisto_core.models.norms import NormFormula
from intravisto_core.progress import finish_turns
from intravisto_core.sites import Lens, NormPolicy, Site
from tests import tiny
from tests.case import Case
from tests.interventions.test_cells import final_norm

FAMILIES = ("Llama", "GPT-2", "Gemma-2", "Cohere", "Granite", "GPT-NeoX, parallel", "OLMo-2", "Qwen3-MoE")
STREAM = ("resid_pre", "resid_mid", "resid_post")
# words that begin with a special one are split
TOKENS = range(40, 97)


def tables_of(case: Case) -> dict[str, torch.Tensor]:
    model = case.plain.model
    return {
        "unembed": model.get_output_embeddings().weight.detach().double(),
        "embed": model.get_input_embeddings().weight.detach().double(),
    }


def literal_vector(case: Case, token: int, lens: str, row: int) -> torch.Tensor:
    """`(G + λI)⁻¹ (M[t] − mean_v M[v])` with the mixed table formed, in float64."""
    depth = row / (len(case.plain.layers) + 1)
    a = {"output": 1.0, "input": 0.0, "linear": depth, "quadratic": depth * depth}[lens]
    tables = tables_of(case)
    scale, _, centred = final_norm(case)
    m = a * tables["unembed"] + (1 - a) * tables["embed"]
    if lens != "input":
        m = scale.double() * m
    if centred:
        m = m - m.mean(-1, keepdim=True)
    m = m - m.mean(0)
    g = m.T @ m / len(m)
    ridge = 1e-3 * g.diagonal().mean()
    return torch.linalg.solve(g + ridge * torch.eye(len(g), dtype=torch.float64), m[token])


@pytest.mark.parametrize("lens", ["output", "input", "linear", "quadratic"])
@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma-2", "Granite"])
def test_the_vector_is_that_of_the_definition(family: Any, name: str, lens: str) -> None:
    case = family(name)
    layer, at, token = 1, 4, 41
    edit = iv.Replace("resid_post", layer, (at,), token=f"w{token}", read_lens=lens, match_norm=False)
    edited = case.trace.edit(edit, text="held")
    found = torch.tensor(edited.activation("resid_post", layer)[at]).double()
    wanted = literal_vector(case, token, lens, layer + 1)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-4
    edited.forget()


@pytest.mark.parametrize("lens", ["output", "input", "linear"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_token_reads_back_in_every_family(family: Any, name: str, lens: str) -> None:
    """LayerNorm with and without biases, RMSNorm with 1 + w, soft-cap, logit scales, post-norms, parallel blocks."""
    case = family(name)
    lost = []
    for number, token in enumerate(TOKENS):
        layer = number % case.engine.model.n_layers
        edit = iv.Replace("resid_post", layer, (5,), token=f"w{token}", read_lens=lens)
        found = case.trace.read_back(edit, top_k=1)
        if not found.reads_back[0]:
            lost.append((token, found.notes))
    assert not [notes for _, notes in lost if not notes], "what does not read back is said"
    assert len(lost) <= 0.02 * len(TOKENS), lost


@pytest.mark.parametrize("site", STREAM)
@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_what_is_told_before_is_there_after_the_run(family: Any, name: str, site: str) -> None:
    case = family(name)
    edit = iv.Replace(site, 1, (3, 6), token="w42")
    before = case.trace.read_back(edit)
    edited = case.trace.edit(edit, text="held")
    row = 1 + (site != "resid_pre")
    component = "mid" if site == "resid_mid" else "block"
    grid = edited.heatmap(component=component, rows=[row], positions=[3, 6], top_k=5)
    assert np.array_equal(before.ids, grid.token_ids[0])
    assert np.allclose(before.probabilities, grid.probabilities[0], atol=1e-5)
    assert any("the new vector reads back as" in note for note in edited.notes)
    edited.forget()


def test_main_component_says_what_it_raises(family: Any) -> None:
    case = family("Llama")
    edits = [iv.ReplaceMain("resid_post", 1, (p,), token=f"w{t}") for p in range(3, 8) for t in range(40, 97, 7)]
    found = [case.trace.read_back(edit) for edit in edits]
    assert 0 < sum(bool(f.reads_back[0]) for f in found) < len(found)
    for edit, before in list(zip(edits, found, strict=True))[:6]:
        edited = case.trace.edit(edit, text="held")
        (position,) = edit.positions
        grid = edited.heatmap(rows=[2], positions=[position], top_k=1)
        assert int(grid.token_ids[0, 0, 0]) == int(before.ids[0, 0])
        assert edited.notes[0].endswith(f"the top token there is now {before.shown[int(before.ids[0, 0])]}")
        edited.forget()


def test_updates_are_told_by_what_they_raise(family: Any) -> None:
    case = family("Llama")
    for lens, expected in (("whitened", True), ("output", None)):
        found = case.trace.read_back(iv.Replace("mlp_out", 1, (4,), token="w42", lens=lens))
        assert np.isnan(found.probabilities).all()
        assert np.isnan(found.asked_probability).all()
        assert found.asked_rank[0] >= 1
        if expected:
            assert found.reads_back[0]


@pytest.mark.parametrize(("site", "words"), [("resid_post", "reads back as"), ("attn_out", "raises most")])
def test_of_many_places_the_first_are_told(family: Any, site: str, words: str) -> None:
    edited = family("Llama").trace.edit(iv.Replace(site, 1, "all", token="w42"), text="free")
    told = [note for note in edited.notes if words in note]
    assert len(told) == 8
    assert "further vectors were put in; only the first are listed" in edited.notes
    edited.forget()


def test_the_usual_vector_is_whitened_in_the_stream_only() -> None:
    usual = {site: str(iv.Replace(site, 0, token="a").lens) for site in (*STREAM, "attn_out", "mlp_out")}
    assert usual == dict.fromkeys(STREAM, "whitened") | dict.fromkeys(("attn_out", "mlp_out"), "output")
    edit = iv.Replace("resid_post", 1, token="a")
    assert iv.from_json(iv.to_json(edit)) == edit == iv.Replace("resid_post", 1, token="a", lens="whitened")
    assert str(edit.read_lens) == "output"


def test_whitened_is_no_lens_of_the_heatmap(family: Any) -> None:
    with pytest.raises(iv.RequestError, match="lens"):
        family("Llama").trace.heatmap(lens="whitened")
    with pytest.raises(iv.RequestError, match="lens"):
        iv.ReplaceMain("resid_post", 1, token="a", lens="whitened")
    with pytest.raises(iv.RequestError, match="whitened"):
        iv.Replace("resid_post", 1, token="a", lens="output", read_lens="input")
    with pytest.raises(iv.RequestError, match="read_lens"):
        iv.Replace("resid_post", 1, token="a", read_lens="max")


def test_several_tokens_are_their_mean(family: Any) -> None:
    case = family("Llama")
    edits = [iv.Replace("resid_post", 1, (4,), token=t, match_norm=False) for t in ("w42", "w55", "w42 w55")]
    rows = []
    for edit in edits:
        edited = case.trace.edit(edit, text="held")
        rows.append(edited.activation("resid_post", 1)[4])
        edited.forget()
    assert np.allclose(rows[2], (rows[0] + rows[1]) / 2, rtol=1e-4, atol=1e-5)
    found = case.trace.read_back(edits[2])
    assert (found.asked, int(found.asked_rank[0])) == (-1, 0)


@pytest.mark.parametrize("norm", ["final", "norm_only", "none"])
@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_each_norm_policy_reads_its_own_vector_back(family: Any, name: str, norm: str) -> None:
    case = family(name)
    good = 0
    for token in range(40, 97, 4):
        edit = iv.Replace("resid_post", 2 % case.engine.model.n_layers, (4,), token=f"w{token}", read_norm=norm)
        good += bool(case.trace.read_back(edit).reads_back[0])
    assert good >= 14


def test_refusals(family: Any) -> None:
    trace = family("Llama").trace
    with pytest.raises(iv.RequestError, match="Replace or a ReplaceMain"):
        trace.read_back(iv.Ablate("attn_out", 1))
    with pytest.raises(iv.RequestError, match="layer"):
        trace.read_back(iv.Replace("resid_post", 99, token="w42"))
    with pytest.raises(iv.RequestError, match="position"):
        trace.read_back(iv.Replace("resid_post", 1, (99,), token="w42"))
    edited = trace.edit(iv.Replace("resid_post", 1, (4,), token="w42"), text="held")
    with pytest.raises(iv.RequestError, match="unedited"):
        edited.read_back(iv.Replace("resid_post", 1, (4,), token="w42"))
    edited.forget()
    with pytest.raises(iv.RequestError, match="parallel"):
        family("GPT-NeoX, parallel").trace.read_back(iv.Replace("resid_mid", 1, token="w42"))


def test_the_record_draws_and_tells(family: Any, tmp_path: Any) -> None:
    found = family("Llama").trace.read_back(iv.Replace("resid_post", 1, (3, 4), token="w42"))
    assert "reads back at 2 of 2 positions" in repr(found)
    assert list(found.frame()["reads_back_as"]) == [found.shown[found.asked]] * 2
    assert found.save(tmp_path / "x.html").stat().st_size
    assert found.save(tmp_path / "x.json").stat().st_size
    assert len(found.figure().data[0].cells["values"]) == 3


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_packed_models_read_back_after_rounding(tmp_path: Any, kind: str) -> None:
    pytest.importorskip("bitsandbytes")
    tiny.write(tiny.CONFIGS["Llama"](), tmp_path)
    engine = iv.open_model(tmp_path, quantisation=kind, dtype="bfloat16")
    trace = engine.trace(tiny.FAMILY_PROMPT)
    found = [trace.read_back(iv.Replace("resid_post", 1, (4,), token=f"w{t}")) for t in range(40, 97, 4)]
    assert all(f.reads_back[0] for f in found)
    engine.close()


# By hand: four or five tokens in a plane, an RMSNorm without scale, so that y = x·√2/‖x‖.


class Rows:
    """Weights of a model with one table of rows, and a bias."""

    tied = False

    def __init__(self, rows: list[list[float]], bias: list[float] | None = None) -> None:
        self.rows = torch.tensor(rows)
        self._bias = None if bias is None else torch.tensor(bias)

    def get(self, name: str, rows: Any = None) -> torch.Tensor:
        return self.rows if rows is None else self.rows[rows]

    def bias(self, name: str) -> torch.Tensor | None:
        return self._bias if name == "unembed" else None

    def chunks(self, name: str, size: int = 4096) -> Any:
        yield 0, self.rows

    def mean_row(self, name: str) -> torch.Tensor:
        return self.rows.mean(0)

    def n_rows(self, name: str) -> int:
        return len(self.rows)


def model_of(rows: list[list[float]], bias: list[float] | None = None, shift: list[float] | None = None) -> Any:
    beta = None if shift is None else torch.tensor(shift)
    norm = NormFormula(NormKind.RMS, torch.ones(2), beta, 0.0)
    return SimpleNamespace(
        weights=Rows(rows, bias),
        norm=norm,
        final_state=norm,
        dimensions=SimpleNamespace(d_model=2, n_layers=1, d_vocab=len(rows)),
        blueprint=SimpleNamespace(logit_scale=1.0, soft_cap=None),
        cap=lambda z: z,
        dtype=torch.float32,
    )


READING = PlaceReading.at(Site.RESID_POST, 1, Lens.OUTPUT)
CROSS = [[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]


def whitener_of(model: Any) -> Any:
    pairs = {pair: finish_turns(accumulate_covariance(model, pair)) for pair in list_pairs(1.0)}
    return make_whitener(model, 1.0, NormPolicy.FINAL, pairs)


def test_whitening_by_hand() -> None:
    """Mean 0, G = diag(2, ½), λ = 10⁻³ · 1¼: token 0 has 2/2.00125, token 2 has 1/0.50125."""
    model = model_of(CROSS)
    whitener = whitener_of(model)
    assert torch.allclose(whitener.vector(model, [0]), torch.tensor([2 / 2.00125, 0.0]))
    assert torch.allclose(whitener.vector(model, [2]), torch.tensor([0.0, 1 / 0.50125]))
    assert torch.allclose(whitener.vector(model, [0, 2]), torch.tensor([1 / 2.00125, 0.5 / 0.50125]))


def test_a_climb_finds_what_a_constant_hides() -> None:
    """Token 1 has a bias of 2.5 and wins at every whitened start of 2: `√2 < 2.5`. Uphill, token 2 wins nowhere but
    where y turns away from token 1: there `√2·sin` is above `2.5 − 2√2·cos`.
    """
    model = model_of(CROSS, bias=[-3.0, 1.5, 0.0, 0.0])
    start = whitener_of(model).vector(model, [2])
    assert int(READING.top_tokens(model, start[None])[0]) == 1
    found = finish_turns(climb(model, start, 2, READING, 3.0))
    assert int(READING.top_tokens(model, found.vector[None])[0]) == 2
    assert not found.impossible


@pytest.mark.parametrize("inner", [[0.2, 0.1], [0.0, 0.0], [1.0, 0.5]])
def test_no_vector_reads_back_as_a_row_inside_the_others(inner: list[float]) -> None:
    model = model_of([*CROSS, inner])
    start = torch.tensor([0.3, 0.7])
    found = finish_turns(climb(model, start, 4, READING, 3.0))
    assert found.impossible


def test_a_row_just_outside_the_others_wins() -> None:
    """(1.1, 0.5) lies beyond the side from (2, 0) to (0, 1), whose middle is (1, 0.5)."""
    model = model_of([*CROSS, [1.1, 0.5]])
    found = finish_turns(climb(model, whitener_of(model).vector(model, [4]), 4, READING, 3.0))
    assert not found.impossible
    assert int(READING.top_tokens(model, found.vector[None])[0]) == 4


def test_two_rows_that_are_one_are_told_apart_by_nothing() -> None:
    """The first of two equal rows is named; the second never is."""
    model = model_of([*CROSS, [2.0, 0.0]])
    assert finish_turns(climb(model, torch.tensor([1.0, 0.0]), 4, READING, 3.0)).impossible


@pytest.fixture
def hopeless(tmp_path: Any) -> Any:
    """A model whose token 41 has the mean of all rows as its own."""
    model = tiny.build(tiny.CONFIGS["Llama"]())
    table = model.get_output_embeddings().weight.data
    table[41] = table.mean(0)
    folder = tiny.write(tiny.CONFIGS["Llama"](), tmp_path)
    model.save_pretrained(folder)
    engine = iv.open_model(folder, dtype="float32")
    yield engine
    engine.close()


def test_it_is_said_that_no_vector_reads_back(hopeless: Any) -> None:
    trace = hopeless.trace(tiny.FAMILY_PROMPT)
    token = hopeless.kept_traces.model.reader.shown(41)
    edit = iv.Replace("resid_post", 1, (4,), token=token)
    found = trace.read_back(edit)
    assert not found.reads_back[0]
    assert any("no vector reads back as it" in note for note in found.notes)
    assert any("no vector reads back as it" in note for note in trace.edit(edit, text="held").notes)


def test_the_vocabulary_is_measured_once(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from intravisto_core.traces import whitened

    case = family("Llama")
    case.trace.read_back(iv.Replace("resid_post", 1, (4,), token="w42"))

    def refuse(*_: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(whitened, "accumulate_covariance", refuse)
    for layer in range(2):
        case.trace.read_back(iv.Replace("resid_post", layer, (4,), token="w43"))


def test_without_room_it_is_refused(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from intravisto_core.models import memory

    engine = family("Mistral").engine
    monkeypatch.setattr(memory, "all_free", lambda: {"cpu": 1000})
    with pytest.raises(iv.MemoryShortError, match="whitened vector"):
        engine.find(family("Mistral").trace.id).read_back(iv.Replace("resid_post", 1, (4,), token="w42"))
