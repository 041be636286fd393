"""What is asked of an engine by its one door alone, `submit`: the same methods for every kind of engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from intravisto_core.engine.base import Trace
from intravisto_core.engine.batches import per_prompt, run_each, wait_with_bar
from intravisto_core.engine.job import Job
from intravisto_core.errors import IntravistoError
from intravisto_core.options import refuse_unknown
from intravisto_core.records import (
    ActiveTexts,
    Circuit,
    ConceptDirection,
    DecodedVectors,
    HeadComposition,
    HeadTypes,
    MeasureTest,
    PatchGrid,
    SweepGrid,
)
from intravisto_core.request import (
    ActiveTextsRequest,
    CircuitRequest,
    DecodeRequest,
    DirectionRequest,
    Generation,
    HeadCompositionRequest,
    HeadTypesRequest,
    MeasureTestRequest,
    ModuleRequest,
    PatchingRequest,
    PathPatchingRequest,
    Request,
    SweepRequest,
    TraceRequest,
    View,
)
from intravisto_core.request.fields import read_flag, read_list
from intravisto_core.sites import Lens, NormPolicy

R = TypeVar("R")


class Asking:
    """Methods that make a request, submit it and wait for what comes of it."""

    def submit(self, request: Request, *, session: str = "", slot: str = "") -> Job:
        """Queue a request."""
        raise NotImplementedError

    def view(self, view: View[R], *, session: str = "", slot: str = "") -> R:
        """Submit a view and wait for its record."""
        record: R = self.submit(view, session=session, slot=slot).result()
        return record

    def trace(
        self,
        prompt: str | tuple[int, ...],
        max_new_tokens: int = 0,
        *,
        add_special_tokens: bool = True,
        sites: Any = None,
        chat: bool = False,
        messages: Any = (),
        interventions: Any = (),
        modules: Any = (),
        **generation: Any,
    ) -> Trace:
        """Run the model over a prompt and wait; greedy by default.

        chat, messages: a conversation, written by the model's own template (see `TraceRequest`).
        interventions: what is changed inside; the unedited run is made first and is the trace's `baseline`.
        modules: paths of modules whose output, or input, is kept for `trace.module` (see `TraceRequest`).
        generation: temperature, top_k, top_p, seed, stop, forced (see `Generation`).

        Raises:
            IntravistoError: the prompt or an option does not serve, or the model gave infinite values.
        """
        refuse_unknown("trace", Generation.__dataclass_fields__, generation)
        asked = Generation(max_new_tokens, **generation)
        request = TraceRequest(prompt, asked, add_special_tokens, sites, chat, messages, interventions, modules=modules)
        trace: Trace = self.submit(request).result()
        return trace

    def traces(
        self,
        prompts: Sequence[str | Sequence[int]],
        max_new_tokens: int = 0,
        *,
        add_special_tokens: bool = True,
        sites: Any = None,
        chat: bool = False,
        interventions: Any = (),
        modules: Any = (),
        progress: bool | None = None,
        **generation: Any,
    ) -> list[Trace | IntravistoError]:
        """Run the model over many prompts and wait: a list with each one's trace, or with the error that it ended with.

        They are run in padded batches as large as memory allows, each equal to its run alone; where that cannot be
        exact they are run one by one, and the trace's notes say why. Ctrl-C cancels. No prompts give an empty list.

        interventions: for all prompts, or a list for each. progress: whether a bar is shown; None where somebody sees
        it, in a terminal or a notebook. Other options as of `trace`.

        Raises:
            IntravistoError: an option does not serve.
        """
        refuse_unknown("traces", Generation.__dataclass_fields__, generation)
        asked = Generation(max_new_tokens, **generation)
        texts = [prompts] if isinstance(prompts, str) else read_list(prompts, "prompts", "prompts")
        edits = per_prompt(interventions, len(texts))

        def ask(text: Any, own: Any) -> TraceRequest:
            return TraceRequest(text, asked, add_special_tokens, sites, chat, (), own, modules=modules)

        shown = None if progress is None else read_flag(progress, "progress")
        return run_each(texts, edits, ask, lambda batch: wait_with_bar(self.submit(batch), shown))

    def decode(
        self,
        x: Any,
        lens: Lens | str = Lens.OUTPUT,
        norm: NormPolicy | str | None = None,
        top_k: int = 5,
        **options: Any,
    ) -> DecodedVectors:
        """How a lens reads any vector (d), or vectors (n, d); see `DecodeRequest`."""
        asked: dict[str, Any] = options | {"lens": lens, "norm": norm, "top_k": top_k}
        return self.view(DecodeRequest(x, **asked))

    def apply(self, path: str, x: Any) -> Any:
        """What a module makes of any array, outside a run: a float32 array, or a tuple as the module returns it.

        Inside a function of a run (`Apply`) a tensor gives a tensor.

        Raises:
            RequestError: there is no such module, or it does not take such an array.
        """
        return self.view(ModuleRequest(path, x)).value

    def circuit(self, parts: Any = None, prompts: Any = (), **options: Any) -> Circuit:
        """How well heads and MLPs do a task, the rest of the model coming from counterfactual prompts.

        parts: as "L3H2" or "L5 MLP"; None: chosen by a ranking. prompts: pairs (prompt, counterfactual). Other options
        as in `CircuitRequest`.
        """
        return self.view(CircuitRequest(parts, prompts, **options))

    def measure_test(self, prompts: Any, **options: Any) -> MeasureTest:
        """Which picture foretells what edits do, over prompts of one's own; see `MeasureTestRequest`."""
        return self.view(MeasureTestRequest(prompts, **options))

    def direction(self, name: str, positive: Any, negative: Any = (), **options: Any) -> ConceptDirection:
        """A concept direction from prompts; site, layer and positions as in `DirectionRequest`."""
        return self.view(DirectionRequest(name, positive, negative, **options))

    def active_texts(self, texts: Any, layer: int, neuron: int | None = None, **options: Any) -> ActiveTexts:
        """One neuron, or a feature of a dictionary, over several texts, most active first; see `ActiveTextsRequest`."""
        return self.view(ActiveTextsRequest(texts, layer, neuron, **options))

    def patching(self, clean: Any, corrupt: Any, **options: Any) -> PatchGrid:
        """A grid of runs of one prompt with values of the other, place by place; options as in `PatchingRequest`.

        engine.patching(clean="…", corrupt="…", target=" Mary", contrast=" John", what="resid_pre", direction="denoise")
        """
        return self.view(PatchingRequest(clean, corrupt, **options))

    def path_patching(self, sender: Any = None, receiver: Any = "logits", **options: Any) -> PatchGrid:
        """What heads say to the logits, or to one other head, and to nothing else; see `PathPatchingRequest`.

        engine.path_patching((9, 6), (10, 7, "q"), clean="…", corrupt="…", target=" Mary", contrast=" John")
        """
        return self.view(PathPatchingRequest(sender=sender, receiver=receiver, **options))

    def sweep(self, prompts: Any, **options: Any) -> SweepGrid:
        """A run without each head, attention or MLP, one at a time, over one prompt or several; see `SweepRequest`.

        engine.sweep(["…", "…"], what="z", how="zero", target=[" Mary", " Tom"], contrast=[" John", " Anna"])
        """
        return self.view(SweepRequest(prompts, **options))

    def head_types(self, **options: Any) -> HeadTypes:
        """What every head does on repeated random tokens, measured once a model; see `HeadTypesRequest`."""
        return self.view(HeadTypesRequest(**options))

    def head_composition(self, layer: int, head: int, **options: Any) -> HeadComposition:
        """How far a head can read what each head below it writes, by their weights; see `HeadCompositionRequest`."""
        return self.view(HeadCompositionRequest(layer, head, **options))
