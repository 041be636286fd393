"""What an explanation says in words, the data of its card, and its page: by rules, from the numbers alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from intravisto_core.figures.explanation import find_range
from intravisto_core.figures.explanation_words import find_jump, find_moments, name_word
from intravisto_core.figures.web.explain_payload import MOST_COLUMNS, explain_data
from intravisto_core.records import Token
from tests.figures.made_explanation import HEAD, MLP, against, explanation, with_tests

HEDGE = " One prompt, so an anecdote."


def test_the_sentence_without_tests():
    assert explanation().sentence == (
        "The model says ␣sat with 60.0\u00a0%. Up to layer 7 it is not in sight; it rises from layer 8 and is first "
        "from layer 9 on. To its logit, MLPs add +3.00 and heads +2.00. Of the heads, L8H1 adds most, +2.00: it looks "
        f"at the first ‘␣cat’ and writes ␣sat.{HEDGE}"
    )


def test_the_sentence_with_tests():
    said = with_tests(explanation(), 0.5, {1: 0.05, 2: 0.2, 3: 0.59}).sentence
    assert said.endswith(
        "Tested: without L8H1, ␣sat falls to 50.0\u00a0%; when the last position cannot see the first ‘␣cat’, to "
        f"5.00\u00a0%; or ‘␣saw’, to 20.0\u00a0%.{HEDGE}"
    )
    assert (
        "no single word that is hidden from the last position halves it."
        in with_tests(explanation(), 0.7, {1: 0.5}).sentence
    )
    assert "without L8H1, ␣sat rises to 70.0\u00a0%" in with_tests(explanation(), 0.7, {1: 0.5}).sentence
    assert "without L8H1, ␣sat stays at 60.1\u00a0%" in with_tests(explanation(), 0.601, {}).sentence
    assert "stays at 58.0\u00a0%" in with_tests(explanation(), 0.58, {}, noise=0.05).sentence, "within the noise"


def test_a_sink_is_no_word_and_a_disagreement_is_said():
    said = with_tests(explanation(), 0.5, {0: 0.001, 2: 0.1, 1: 0.55}).sentence
    assert "‘The’" not in said
    assert "By what heads bring, the first ‘␣cat’ comes first; by the test it does not." in said
    half = with_tests(explanation(), float("nan"), {2: float("nan")})
    assert half.sentence == explanation().sentence, "a test that was not made yet says nothing"


def test_the_sentence_against_another_token():
    said = with_tests(against(explanation()), 1.5, {1: -2.0}).sentence
    assert said.startswith("The model says ␣sat with 60.0\u00a0%, 4.00 logits ahead of ␣lay.")
    assert "To its lead, MLPs add +3.00 and heads +2.00" in said
    assert "L8H1 adds most, +2.00: it looks at the first ‘␣cat’ and pushes ␣lay down." in said
    assert (
        "without L8H1, the lead falls to +1.50; when the last position cannot see the first ‘␣cat’, to −2.00." in said
    )
    assert "the lead turns to −0.500" in with_tests(against(explanation()), -0.5, {}).sentence
    behind = with_tests(against(explanation(), -1.0), -0.5, {1: -3.0}).sentence
    assert "1.00 logits behind ␣lay" in behind
    assert "halves" not in behind, "nothing is halved where there is no lead"


def test_what_the_model_does_not_say_is_not_said_of_it():
    said = explanation(top_id=72, probability=0.1, ranks=(900, *[800] * 18, 30, 4)).sentence
    assert said.startswith("The model gives ␣sat 10.0\u00a0% and would say ␣lay first.")
    assert "it rises from layer 9; at the end it stands at place 4." in said


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ((1,) * 21, " It is first from the embeddings on."),
        ((50, *[40] * 18, 20, 1), " It is first from layer 9 on."),
        ((50, *[40] * 20), " At the end it stands at place 40."),
        # one step is jump and top at once: it is told as the top
        ((900, *[800] * 17, 1, 1, 1), " It is first from layer 8 on."),
    ],
)
def test_how_it_rises(ranks, said):
    assert said in explanation(ranks).sentence


def test_moments_by_hand():
    found = find_moments(explanation())
    assert [(m.what, m.layer, m.half, m.rank_before, m.rank_after) for m in found] == [
        ("top 100", 8, "attention", 800, 60),
        ("top 10", 8, "mlp", 60, 9),
        ("top 5", 9, "attention", 9, 2),
        ("first", 9, "mlp", 2, 1),
    ]
    # a jump out of sight is a moment of its own; what falls back is none
    falls = explanation((900, 900, 900, 300, *[300] * 9, 90, 2000, *[300] * 4, 90, 90))
    assert [(m.what, m.step) for m in find_moments(falls)] == [("top 100", 19)]
    stays = explanation((900, 900, 900, 300, *[300] * 15, 90, 90))
    assert [(m.what, m.step) for m in find_moments(stays)] == [("top 100", 19)], "300 to 90 is more than 900 to 300"
    out_of_sight = explanation((900, 900, 900, 300, *[300] * 15, 160, 160))
    assert [(m.what, m.step) for m in find_moments(out_of_sight)] == [("jump", 3)]
    assert find_jump(explanation((1,) * 21)) is None
    assert len(find_moments(explanation((900, *[900] * 5, 150, 90, 80, 9, 4, *[1] * 10)))) == 5
    assert explanation().moments["what"].tolist() == ["top 100", "top 10", "top 5", "first"]
    assert list(explanation().moments) == ["row", "half", "layer", "what", "rank_before", "rank_after"]


def test_words_that_come_twice_are_told_apart():
    found = explanation()
    assert [name_word(found, j) for j in (0, 1, 4)] == ["‘The’", "the first ‘␣cat’", "the second ‘␣cat’"]


def test_the_data_of_the_card():
    data = explain_data(with_tests(explanation(), 0.5, {1: 0.05, 2: float("nan")}), links=True, rev="r")
    chips = data["words"]["columns"]
    assert [c["kind"] for c in chips] == ["sink", "word", "word", "word", "itself"]
    shares = ["sink", "67\u00a0%", "22\u00a0%", "11\u00a0%", "itself"]
    assert [c["share"] for c in chips] == shares, "of the words between"
    assert [c["hidden"] for c in chips] == ["", "5.00\u00a0%", "…", "", "–"]
    assert [c["halves"] for c in chips] == [False, True, False, False, False]
    (arc,) = data["words"]["arcs"]
    assert (arc["position"], arc["value"], arc["texts"][0]) == (1, 2.0, "L8H1 writes ␣sat")
    by_name = {part["name"]: part for part in data["who"]["parts"]}
    assert set(by_name) == {"L8H1", "MLP 9"}
    assert (by_name["L8H1"]["looks"], by_name["L8H1"]["weight"], by_name["L8H1"]["without"]) == (
        "␣cat",
        "60\u00a0%",
        "50.0\u00a0%",
    )
    words = data["who"]["words"]
    assert words[str(HEAD)]["words"] == [{"text": "␣sat", "hit": True}, {"text": "␣lay", "hit": False}]
    assert words[str(MLP)]["muted"], "the target is far down its list"
    assert [w["text"] for w in words[str(MLP)]["words"]] == ["␣sat"], "what is no word is left out"
    assert data["who"]["rows"] == [MLP, HEAD]
    assert data["who"]["first"] == HEAD
    json.dumps(data, allow_nan=False)


def test_a_long_text_shows_the_words_that_matter_and_what_is_left_out():
    n = 40
    tokens = tuple(Token(i, f"w{i}", f"w{i}", i, True, False) for i in range(n))
    source = np.linspace(1, 0.1, n)
    source[30] = 9.0
    found = explanation(tokens=tokens, source=source, position=n - 1, prompt_length=n)
    columns = explain_data(found)["words"]["columns"]
    assert len(columns) <= MOST_COLUMNS + 2
    assert {c.get("position") for c in columns} >= {0, 30, n - 1}
    gap = next(c for c in columns if (c["kind"] == "gap" and "20" in c["about"]) or c["kind"] == "gap")
    assert "tokens, positions" in gap["about"]
    listed = sum(1 for c in columns if c["kind"] != "gap")
    assert listed + sum(int(c["about"].split()[0]) for c in columns if c["kind"] == "gap") == n


def test_the_page_shows_tokens_as_they_are_and_the_files_hold_all():
    odd = tuple(Token(i, w, w, i, True, False) for i, w in enumerate(("<s>", "</script>", "%{y}", "$x$", "&lt;")))
    found = with_tests(explanation(tokens=odd, target="<b>x</b>"), 0.5, {1: 0.2})
    page = found.html()
    assert "<b>x</b>" not in page
    assert page.count("</script>") == page.count("<script"), "a token ends no script"
    table = found.frame()
    assert set(table["section"]) == {"part", "word", "reading"}
    assert table.loc[table["section"] == "part", "value"].sum() == pytest.approx(found.logit)
    assert table.loc[table["name"] == "L8H1", "test"].item() == 0.5
    assert json.loads(found.render("json"))["test_after"] == [0.5, 0.2]
    assert found.render("csv").startswith(b"\xef\xbb\xbfsection")
    assert len(found.figure().data) == 5
    assert "srcdoc" in found._repr_html_()
    assert "position 4" in repr(found)


def test_no_number_of_the_figure_is_cut_or_lies_on_the_name_of_a_bar():
    found = with_tests(replace(explanation(), part_value=np.array([-2.0, 3.0, 0.5])), 0.5, {})
    figure = found.figure()
    bars, numbers = figure.data[-2:]
    assert list(numbers.y) == list(bars.y)
    assert list(numbers.x) == [max(0, value) for value in bars.x]
    assert numbers.textposition == "middle right"
    low, high = figure.layout.xaxis3.range
    room = (high - max(bars.x)) / (high - low)
    assert room >= max(map(len, numbers.text)) * 7.5 / 440 - 1e-9
    assert find_range(np.zeros(0), ())[0] < find_range(np.zeros(0), ())[1]
    assert find_range(np.array([-2.0, -1.0]), ["−2.00", "−1.00"])[1] > 0
