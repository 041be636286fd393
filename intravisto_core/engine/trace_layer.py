"""What a trace tells of the inside of a layer: heads, neurons, features of dictionaries."""

from __future__ import annotations

from typing import Any

from intravisto_core.engine.trace_attention import TraceAttention
from intravisto_core.errors import RequestError
from intravisto_core.records import FeatureCard, HeadCard, LayerGraph, NeuronCard, Neurons
from intravisto_core.request import FeatureView, HeadView, LayerView, NeuronsView, NeuronView, Steer, TensorRef
from intravisto_core.request.checks import TokenChoice
from intravisto_core.request.fields import read_number
from intravisto_core.sites import LayerWidth, NeuronRanking, SteerUnit


class TraceLayer(TraceAttention):
    """The views of the inside of a layer as methods of a trace."""

    def layer(
        self,
        layer: int,
        position: int = -1,
        target: TokenChoice = None,
        contrast: TokenChoice = None,
        width: LayerWidth | str = LayerWidth.SIZE,
        heads: int | None = None,
        neurons: int = 10,
        sources: int = 3,
        **options: Any,
    ) -> LayerGraph:
        """What one layer wrote at a position, and which heads and neurons wrote it; see `LayerView`."""
        options |= {"target": target, "contrast": contrast, "position": position, "width": width, "heads": heads}
        return self._ask(LayerView, layer=layer, neurons=neurons, sources=sources, **options)

    def head(self, layer: int, head: int, position: int = -1, **options: Any) -> HeadCard:
        """One head at a position: what it reads, looks for and writes; see `HeadView`."""
        return self._ask(HeadView, layer=layer, head=head, position=position, **options)

    def neuron(self, layer: int, neuron: int, expert: int | None = None, **options: Any) -> NeuronCard:
        """One neuron over the text: when it is active, what fires it, what it writes; see `NeuronView`."""
        return self._ask(NeuronView, layer=layer, neuron=neuron, expert=expert, **options)

    def neurons(
        self,
        layer: int | None,
        position: int = -1,
        rank_by: NeuronRanking | str = NeuronRanking.SIZE,
        k: int = 20,
        **options: Any,
    ) -> Neurons:
        """The largest neurons of a layer, or of all, or those that promote a token; see `NeuronsView`."""
        return self._ask(NeuronsView, layer=layer, position=position, rank_by=rank_by, k=k, **options)

    def feature(self, layer: int, feature: int, dictionary: str | None = None, **options: Any) -> FeatureCard:
        """One feature of a dictionary over the text: when it is active, what it writes; see `FeatureView`."""
        return self._ask(FeatureView, layer=layer, feature=feature, dictionary=dictionary, **options)

    def feature_edit(
        self, layer: int, feature: int, dictionary: str | None = None, position: int = -1, factor: float = 0.0
    ) -> Steer:
        """An intervention that makes what a feature writes at one position `factor` times as large.

        0 ablates it, 2 doubles it; the reconstruction error and all other features stay as they are. To steer by a
        feature where it is not active, give its card as a direction: `Steer(card.site, card.layer, "all",
        direction=card)`.

        Raises:
            RequestError: no such feature, or it is not active there, so that there is nothing to multiply.
        """
        times = read_number(factor, "factor")
        card = self.feature(layer, feature, dictionary, position=position)
        if not card.size:
            raise RequestError(
                f"position: expected one where feature {feature} is active; at {card.position} it is not. Steer by it: "
                "Steer(card.site, card.layer, positions, direction=card)"
            )
        strength = (times - 1) * card.strength
        along = TensorRef.of(card.vector, card.name)
        unit = SteerUnit.ABSOLUTE
        return Steer(card.site, card.layer, (card.position,), direction=along, strength=strength, unit=unit)
