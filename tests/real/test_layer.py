"""Inside a layer of the real model: what is known of it by other means."""

from __future__ import annotations


def test_head_4_of_layer_23_writes_paris_from_iffel(eiffel):
    graph = eiffel.layer(23, 8)
    assert (graph.target, graph.contrast) == ("␣Paris", "␣Rome")
    head = graph.parts[(graph.parts.kind == "head") & (graph.parts["index"] == 4)].iloc[0]
    assert head["writes"].startswith("␣Paris")
    assert head["rank"] == 1
    assert 1.2 < head["pull"] < 1.3
    brought = graph.sources[graph.sources["head"] == 4].set_index("token")["pull"]
    assert brought.idxmax() == "iffel"
    assert 1.1 < brought["iffel"] < 1.2
    ranks = graph.state_rank.tolist()
    assert 4000 < ranks[0] < 6000
    assert 1000 < ranks[1] < 1300
    assert 700 < ranks[2] < 850
    assert 180 < graph.lane_half[1] < 205, "the MLP is diffuse"
    last = eiffel.layer(29, 8, width="pull")
    drawn = last.parts[last.parts.kind == "neuron"]["pull"].sum()
    assert abs(drawn) < 0.3 * abs(last.lane_pull[1]), "most of its pull is in the others"


def test_by_angle_heads_look_for_tokens_of_their_own(eiffel):
    """By product the same few rare tokens head the lists of all heads (17 tokens in 54 places, by angle 37)."""
    distinct = {}
    for order in ("angle", "logit"):
        cards = [eiffel.head(23, head, 8, order=order) for head in range(9)]
        distinct[order] = len({int(i) for card in cards for i in card.query_ids})
    assert distinct["angle"] > 30
    assert distinct["logit"] < 25
