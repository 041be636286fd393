"""The names that are promised, what kind each is, and what importing them costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Sequence
from enum import EnumType
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

import intravisto_core as iv
from intravisto_core.records import Record
from intravisto_core.request import Intervention, View

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "plotly", "pandas", "streamlit")
ROOMS = tuple(f"intravisto_core.{name}" for name in ("records", "request", "sites", "engine"))
# all that takes time to import, be it no model's library
SLOW = (*HEAVY, *ROOMS, "numpy", "jaxtyping")

# A change here is a change of what notebooks and other programs are written against.
FACE = {
    "record": (
        "Activation ActiveTexts Architecture Attention AttentionCut AttentionScore Attribution BatchSummary "
        "CellShares Circuit Comparison ConceptDirection ContributionGraph DecodedGrid DecodedVectors "
        "DictionaryCard Disagreement Evidence Experts Explanation FeatureCard Flow Gradient HeadCard "
        "HeadComposition HeadPatterns HeadShares HeadTargets HeadTypes LayerGraph LinkCheck Logits MeasureTest "
        "ModelDifference ModuleFlow ModuleOutput ModuleRun ModuleTree ModuleValue NeuronCard Neurons NextTokens "
        "PatchGrid Pattern ReadBack Record Retest Route Saliency Shares Sinks SparseAttention SweepGrid "
        "TokenQuery TreeComparison UpdateTokens "
    ),
    "part of a record": (
        "ActiveText Check FlowLink FlowNode LayerFeatures MemoryEstimate ModelCard ModuleCall ModuleChange ModuleNode "
        "ModuleTensor PatchedPair Token TokenList ValueShape Watched"
    ),
    "view": (
        "ActivationView ActiveTextsRequest ArchitectureView AttentionCutView AttentionScoreView AttentionView "
        "AttributionView CellSharesView CircuitRequest CompareView DecodeRequest DirectionRequest DisagreementView "
        "EvidenceView ExpertsView ExplainView FeatureView FlowView GradientView GraphView HeadCompositionRequest "
        "HeadPatternsView HeadSharesView HeadTargetsView HeadTypesRequest HeadView HeatmapView LayerView "
        "LinkCheckView LogitsView MeasureTestRequest ModuleOutputView ModuleRequest ModuleView NeuronView "
        "NeuronsView NextTokensView PatchingRequest PathPatchingRequest PatternView QueryView ReadBackView "
        "RouteView SaliencyView SharesView SinksView SparseAttentionView SweepRequest UpdateView View"
    ),
    "intervention": (
        "Ablate Apply FreezePattern KnockOut Patch RemoveDirection Replace ReplaceMain Scale SetValue Steer "
        "SwapDirection"
    ),
    "part of a request": (
        "Claim EmbeddingNoise Generated Generation Link ModelSpec ModuleBlock PromptSet ResampleTokens Span "
        "SwapTokens TensorRef TraceBatch TraceRequest"
    ),
    "enum": (
        "Ablation Alignment AttentionDivision BlockKind Capability Colour Component ControlKind DataKind Effect "
        "ExplainTest FeatureActivation FeaturePart HeadTarget InputScaling JobState Lane LayerPart LayerWidth Lens "
        "LinkKind ModuleSide ModuleStatistic NeuronRanking NodeKind NormPolicy Part PatchMetric Patching "
        "RankPalette Ranking Reading Refinement SaliencyMethod SaliencyReference ScoreEnd ShareMeasure SinkHandling "
        "Site SteerUnit TextMode TokenOrder TokenVector Verdict"
    ),
    "error": (
        "BusyError Cancelled HubError IntravistoError LostTraceError MemoryShortError MissingProgramError ModelError "
        "NotSavedError RequestError ServiceError Superseded TooLargeError TraceError"
    ),
    "engine": "Engine Inspector Job LocalEngine OfferedModel Pool Progress RemoteEngine Trace TraceInfo",
    "function": (
        "cached_models check_token compare_models compare_trees connect diagnostics estimate_memory frame from_json "
        "offer_is_closed offered_models open_model open_trace retest row_label tensors to_json with_tensors"
    ),
    "module": "figures",
}


LAZY = ("intravisto_core", *(f"intravisto_core.{name}" for name in ("engine", "models", "records", "request")))


def stated(package: str) -> dict[str, str]:
    """What a package states for type checkers and completion, under TYPE_CHECKING: each name, and where it is from."""
    tree = ast.parse(Path(inspect.getfile(import_module(package))).read_text("utf-8"))
    later = [node for branch in tree.body if isinstance(branch, ast.If) for node in branch.body]
    imports = [(node, alias) for node in later if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for _, alias in imports), "from x import y as y"
    return {alias.name: str(node.module) for node, alias in imports}


def kind(name: str) -> str:
    thing = getattr(iv, name)
    if inspect.ismodule(thing):
        return "module"
    if not inspect.isclass(thing):
        return "function"
    if isinstance(thing, EnumType):
        return "enum"
    if issubclass(thing, View):
        return "view"
    for base, found in ((Record, "record"), (BaseException, "error")):
        if issubclass(thing, base):
            return found
    if thing in get_args(Intervention):
        return "intervention"
    owner = thing.__module__.removeprefix("intravisto_core.")
    owners = {"records": "part of a record", "request": "part of a request"}
    return next((found for start, found in owners.items() if owner.startswith(start)), "engine")


def test_the_promised_names_are_these() -> None:
    assert set(stated("intravisto_core")) == {name for line in FACE.values() for name in line.split()}


@pytest.mark.parametrize("what", FACE)
def test_each_promised_name_is_what_it_is_said_to_be(what: str) -> None:
    assert {name: kind(name) for name in FACE[what].split()} == dict.fromkeys(FACE[what].split(), what)


@pytest.mark.parametrize("package", LAZY)
def test_names_that_load_when_used_are_those_that_type_checkers_see(package: str) -> None:
    names, module = stated(package), import_module(package)
    assert set(names) == {name for name in dir(module) if not name.startswith("__")}
    for name, place in names.items():
        found = getattr(module, name)
        assert found is getattr(import_module(place), name), f"{package} gives another {name} than {place}"
    modules = {each.stem for each in Path(inspect.getfile(module)).parent.glob("*.py")}
    assert not modules & set(names), "importing such a module would hide the name"


def test_a_name_that_is_not_there_says_where_the_list_is() -> None:
    with pytest.raises(AttributeError, match=r"intravisto_core has no 'Heatmap'.*dir\(intravisto_core\)"):
        iv.Heatmap  # noqa: B018


def loaded(code: str, of: Sequence[str] = HEAVY) -> set[str]:
    """Which of some packages, by default the heavy ones, a fresh interpreter has loaded after that code."""
    line = f"{code}\nimport sys; print('loaded', *(name for name in {of!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "module", ["", ".errors", ".sites", ".records", ".request", ".figures", ".figures.web", ".figures.export", ".cli"]
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert loaded(f"import intravisto_core{module}") == set()


@pytest.mark.parametrize("module", ["", ".errors", ".sites", ".cli"])
def test_importing_and_asking_for_help_needs_no_other_library(module: str) -> None:
    found = loaded(f"import intravisto_core{module}", SLOW)
    assert found == ({"intravisto_core.sites"} if module == ".sites" else set())


def test_reading_the_names_of_records_and_requests_loads_nothing_heavy() -> None:
    kinds = ("record", "part of a record", "view", "intervention", "part of a request", "enum", "error")
    names = [name for what in kinds for name in FACE[what].split()]
    assert loaded(f"import intravisto_core as iv\nfor name in {names!r}: getattr(iv, name)\ndir(iv)") == set()


def test_all_names_can_be_imported_at_once() -> None:
    here: dict[str, object] = {}
    exec("from intravisto_core import *", here)
    assert {name for line in FACE.values() for name in line.split()} <= set(here)


def test_a_record_is_drawn_without_torch_and_without_importing_figures() -> None:
    made = "import numpy as np\nfrom intravisto_core.records import Logits\nlogits = Logits('t', 0, np.arange(5.0))\n"
    assert loaded(f"{made}assert logits.render('json')") == set()
    drawn = "assert '<!doctype html>' in logits.html() and len(logits.frame()) == 5 and logits.figure().data"
    assert loaded(made + drawn) == {"plotly", "pandas"}


COMMANDS = {
    "help": (["--help"], 0),
    "help of a command": (["attribute", "--help"], 0),
    "version": (["--version"], 0),
    "unknown option": (["trace", "x", "--no-such-option"], 2),
    "wrong choice": (["flow", "x", "--measure", "size"], 2),
    "wrong place": (["edit", "x", "--ablate", "here"], 2),
    "wrong model folder": (["trace", "x", "--model", "./no/such/folder"], 2),
    "wrong model folder to check": (["check", "/no/such/folder"], 2),
    "wrong suffix": (["trace", "x", "--out", "x.docx"], 2),
    "wrong folder to write to": (["trace", "x", "--out", "/no/such/folder/x.html"], 2),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_what_needs_no_model_pays_for_none(what: str) -> None:
    arguments, code = COMMANDS[what]
    of = SLOW if what in ("help", "version") else HEAVY
    lines = (
        "from intravisto_core.cli import main",
        f"try: code = main({arguments!r})",
        "except SystemExit as end: code = end.code",
        f"assert (code or 0) == {code}, code",
    )
    assert loaded("\n".join(lines), of) == set()
