"""The training program, at a size that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from intravisto_core.demo import MODEL_FOLDER
from intravisto_core.demo.batches import BatchSource
from intravisto_core.demo.corpus import TASKS
from intravisto_core.demo.export import export
from intravisto_core.demo.network import Network, Shape
from intravisto_core.demo.optimizer import Muon, orthogonalised
from intravisto_core.demo.progress import Progress
from intravisto_core.demo.tokenizer import BEGIN
from intravisto_core.demo.train import Schedule, Trainer
from tests.reference.equal import assert_close


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL_FOLDER / "tokenizer.json"))


def tiny(tokenizer: Tokenizer) -> Shape:
    return Shape(tokenizer.get_vocab_size(), d_model=16, n_layers=2, n_heads=2, d_mlp=24, context=32)


def weights_after_two_steps(tokenizer: Tokenizer, reported: bool = False) -> dict[str, torch.Tensor]:
    trainer = Trainer(tokenizer, tiny(tokenizer), Schedule(steps=2, rows=2))
    progress = Progress(trainer.network, tokenizer)
    for number in range(2):
        progress.add(trainer.step(number))
        if reported:
            progress.report(number + 1)
    return trainer.network.state_dict()


def test_two_runs_end_with_the_same_weights(tokenizer: Tokenizer) -> None:
    first, again = weights_after_two_steps(tokenizer), weights_after_two_steps(tokenizer)
    untrained = Trainer(tokenizer, tiny(tokenizer), Schedule()).network.state_dict()
    for name in first:
        assert_close(again[name].numpy(), first[name].numpy())
    assert not any(torch.equal(first[name], untrained[name]) for name in first)


def test_reports_do_not_change_what_is_learnt(tokenizer: Tokenizer) -> None:
    silent, reported = weights_after_two_steps(tokenizer), weights_after_two_steps(tokenizer, reported=True)
    for name in silent:
        assert_close(reported[name].numpy(), silent[name].numpy())


def test_a_report_says_the_mean_loss_and_every_task_that_has_answers(tokenizer: Tokenizer) -> None:
    progress = Progress(Network(tiny(tokenizer)), tokenizer)
    for loss in (1.0, 2.0):
        progress.add(torch.tensor(loss))
    report = progress.report(2)
    assert "loss 1.500" in report
    assert [task for task in TASKS if f"{task} 0." not in report] == ["phrase"]
    assert "random tokens 0.0" in report


def test_the_head_begins_as_the_embeddings_less_what_they_share(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    network = Network(tiny(tokenizer))
    embeddings, head = network.embed_tokens.weight, network.lm_head.weight
    shared = embeddings.mean(dim=0) - head.mean(dim=0)
    assert shared.std() > 5 * head.mean(dim=0).std()
    apart = (embeddings - embeddings.mean(dim=0)).flatten()
    assert torch.corrcoef(torch.stack([apart, head.flatten()]))[0, 1] > 0.99


def test_the_exported_model_is_the_trained_network(tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(tiny(tokenizer))
    export(network, tokenizer, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    ids = torch.randint(0, tokenizer.get_vocab_size(), (3, 32))
    with torch.inference_mode():
        torch.testing.assert_close(network(ids), model(ids).logits, rtol=1e-4, atol=1e-5)


def test_a_row_is_the_context_and_one_and_begins_with_the_beginning_token(tokenizer: Tokenizer) -> None:
    batch = BatchSource(tokenizer, rows=40, context=32, seed=1).next()
    assert batch.ids.shape == batch.weights.shape == (40, 33)
    assert set(batch.ids[:, 0].tolist()) == {tokenizer.token_to_id(BEGIN)}
    assert batch.weights[:, 0].eq(0).all()


def test_only_repeated_tokens_of_a_random_row_count(tokenizer: Tokenizer) -> None:
    batches = BatchSource(tokenizer, rows=200, context=32, seed=2)
    batch = batches.next()
    ends = tokenizer.token_to_id("<|end|>")
    rows = [i for i, ids in enumerate(batch.ids.tolist()) if ends not in ids and len(set(ids)) < 20]
    assert rows
    for row in rows:
        ids, weights = batch.ids[row].tolist(), batch.weights[row].tolist()
        seen_before = [ids[place] in ids[:place] for place in range(len(ids))]
        if all(token > 257 for token in ids[1:]):
            assert all(seen for seen, weight in zip(seen_before, weights, strict=True) if weight > 0)


def test_the_rate_rises_stays_and_falls_by_steps() -> None:
    schedule = Schedule(steps=1000, warm_up=10)
    factors = [schedule.factor(step) for step in range(1000)]
    assert factors[0] == pytest.approx(0.1)
    assert set(factors[10:550]) == {1.0}
    assert factors[775] == pytest.approx(0.5)
    assert factors[-1] == pytest.approx(schedule.floor)


def test_orthogonalised_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalised(torch.randn(3, 8, 20)))
    assert (values - 1).abs().max() < 0.4


def test_muon_asks_for_gradients() -> None:
    with pytest.raises(RuntimeError, match="gradient"):
        Muon([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1).step()
