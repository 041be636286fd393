"""What a family is held to in memory, with its blocks on disk: the same checks, on an engine that reads them there."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from inspect import signature
from itertools import product
from unittest.mock import patch

import pytest
from accelerate import cpu_offload

import intravisto_core as iv
from intravisto_core.experiments.self_check import check_model
from intravisto_core.models import load
from tests.case import Case
from tests.families import test_families as families
from tests.flow import test_attribution as attribution
from tests.flow import test_heads_and_graph as heads
from tests.flow import test_traces as flows
from tests.interventions import test_cells as cells
from tests.interventions import test_links as links
from tests.interventions import test_reuse as reuse
from tests.interventions.test_reuse import in_full  # noqa: F401  (a fixture)
from tests.tiny import FAMILY_N_NEW, FAMILY_PROMPT
from tests.views import test_layer as layers

# One of rotary positions and shared keys, one of learned positions, transposed and tied matrices.
WHOLE = ("Llama", "GPT-2")
# Post-norms and soft-caps; parallel blocks; stacked experts; attention code of their own.
OTHERS = ("Gemma-2", "GPT-NeoX, parallel", "Qwen3-MoE", "GPT-J", "Bloom", "Falcon, new decoder", "MPT", "gpt-oss")
IDENTITIES = (
    families.test_the_identities_hold,
    families.test_every_site_equals_the_plain_model,
    families.test_greedy_ids_are_the_plain_models,
    families.test_the_card_tells_the_model,
    families.test_the_public_face_answers,
    attribution.test_parts_add_up_to_the_models_own_logit,
    reuse.test_reuse_is_a_full_run_and_the_text_goes_on_after_it,
)
SUITE = (
    *IDENTITIES,
    attribution.test_refined_parts_are_what_their_component_adds,
    flows.test_a_flow_is_the_literal_reading,
    heads.test_joint_shares_of_a_cell,
    heads.test_shares_of_heads,
    reuse.test_reuse_of_held_text,
    cells.test_edges_are_knocked_out,
    cells.test_a_cut_edge_shows_in_the_pattern,
    cells.test_a_frozen_pattern_moves_the_baselines_way,
    links.test_a_checked_link_is_a_run_without_its_vector,
    links.test_parts_of_attention_add_up_to_it,
    layers.test_every_family_adds_up_to_the_direct_attribution,
    layers.test_parts_of_the_stream_fire_a_neuron,
)
EACH = [*product(WHOLE, SUITE), *product(OTHERS, IDENTITIES)]
IN_HOST_MEMORY = product(("Llama", "GPT-2"), (*IDENTITIES[1:3], heads.test_joint_shares_of_a_cell, *SUITE[-4:-2]))


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Case]]:
    """As the fixture of that name for all tests, on models whose blocks are on disk."""
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = Case.of_family(name, tmp_path_factory.mktemp("offloaded"), "offload")
        return made[name]

    yield get
    for each in made.values():
        network = each.engine.kept_traces.model.network
        assert any(p.device.type == "meta" for p in network.parameters())
    with patch("gc.collect"):
        for each in made.values():
            each.engine.close()
    gc.collect()


@pytest.mark.parametrize(
    ("name", "suite"), EACH, ids=[f"{name}-{each.__name__.removeprefix('test_')}" for name, each in EACH]
)
def test_the_suite_of_families(request, family, name, suite):
    given = {"family": family, "name": name}
    if "in_full" in signature(suite).parameters:
        given["in_full"] = request.getfixturevalue("in_full")
    suite(**given)


@pytest.fixture(scope="module")
def in_host_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Case]]:
    """Blocks whose weights accelerate fetches from host memory at every call, as for a GPU that is too small."""
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = case = Case.of_family(name, tmp_path_factory.mktemp("fetched"))
            for block in case.engine.kept_traces.model.blueprint.blocks:
                cpu_offload(block.layer, execution_device="cpu")
            case.trace = case.engine.trace(FAMILY_PROMPT, max_new_tokens=FAMILY_N_NEW)
            case.trace.pin()
        return made[name]

    yield get
    for each in made.values():
        each.engine.close()


@pytest.mark.parametrize(("name", "suite"), IN_HOST_MEMORY)
def test_weights_in_host_memory(in_host_memory, name, suite):
    suite(in_host_memory, name)


@pytest.mark.parametrize("site", [*cells.STREAM, "z", "act"])
@pytest.mark.parametrize("name", WHOLE)
def test_every_operation_at_a_site(family, name, site):
    cells.test_every_operation_at_a_site(family, name, site)


def test_experts_are_the_plain_models(family):
    families.test_experts_are_the_plain_models(family, "Qwen3-MoE")


@pytest.mark.parametrize("name", [*WHOLE, "Gemma-2"])
def test_the_identities_hold_in_bfloat16(family, name):
    model = load(iv.ModelSpec(str(family(name).folder), dtype="bfloat16", device_map="offload"))
    card = check_model(model)
    assert all(found.ok for found in card.capabilities.values())
    assert card.capabilities["residual"].exact
    assert card.capabilities["traced"].exact
    assert card.dtype == "bfloat16"
