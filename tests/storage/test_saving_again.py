"""A run that came from a file and is saved again keeps what the file held, with the model at hand and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import intravisto_core as iv
from intravisto_core.storage import read_bundle
from tests.storage.test_saved_runs import same

VIEWS = ("heatmap", "attribution")


@pytest.fixture(scope="module")
def edited(demo):
    return demo.trace("1 2 3", max_new_tokens=2).edit(iv.Ablate("attn_out", 2, "all"))


@pytest.fixture(scope="module")
def first(edited, tmp_path_factory) -> Path:
    compared = iv.CompareView(edited.baseline.id, edited.id)
    path = tmp_path_factory.mktemp("first") / "first.intravisto"
    return edited.save(path, [*VIEWS, compared], activations=["resid_post", "z"])


def names_of(path: Path) -> list[tuple[str, ...]]:
    """The kinds of views of each run of a file, in their order, and the sites."""
    runs = read_bundle(path).manifest["runs"]
    return [(*(each["kind"] for each in run["views"]), *{a["site"] for a in run["activations"]}) for run in runs]


def test_without_the_model_everything_is_kept(first, tmp_path):
    again = iv.open_trace(first).save(tmp_path / "again.intravisto")
    one, other = read_bundle(first), read_bundle(again)
    assert one.manifest == other.manifest
    assert set(one.arrays) == set(other.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(other.arrays[name], array)


def test_what_is_named_is_kept_alone(first, tmp_path):
    opened = iv.open_trace(first)
    again = iv.open_trace(opened.save(tmp_path / "part.intravisto", "attribution", activations="z"))
    same(again.attribution(), opened.attribution())
    np.testing.assert_array_equal(again.activation("z", 1), opened.activation("z", 1))
    for missing in (again.heatmap, lambda: again.activation("resid_post", 1)):
        with pytest.raises(iv.NotSavedError):
            missing()
    with pytest.raises(iv.NotSavedError, match="FlowView"):
        opened.save(tmp_path / "more.intravisto", "flow")
    assert not (tmp_path / "more.intravisto").exists()


def test_with_the_model_the_same_and_the_usual_views_are_kept(first, edited, demo, tmp_path):
    made_again = iv.open_trace(first, engine=demo)
    path = made_again.save(tmp_path / "again.intravisto")
    again = iv.open_trace(path)
    assert again.id != edited.id
    for run, before in ((again, edited), (again.baseline, edited.baseline)):
        np.testing.assert_array_equal(run.attribution().value, before.attribution().value)
        np.testing.assert_array_equal(run.activation("z", 1), before.activation("z", 1))
        np.testing.assert_array_equal(run.activation("resid_post", 3), before.activation("resid_post", 3))
        assert run.flow().frame().equals(before.flow().frame())
    compared = again.baseline.compare(again)
    assert compared.frame().equals(edited.baseline.compare(edited).frame())
    assert set(names_of(first)[0]) < set(names_of(path)[0])
