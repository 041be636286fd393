"""What an engine of a service refuses, in words: it needs the model in this process."""

from __future__ import annotations

from typing import Any, NoReturn

from intravisto_core.errors import RequestError, expected

_AT_HAND = "a model that is open in this process"
_THERE = "one at a service"


class Elsewhere:
    """The methods that only the process which holds the model has."""

    def hook(self, *, session: str = "") -> NoReturn:
        """Refused: functions stay in the process that they are of."""
        todo = "No function from here is run there. Use interventions without functions, or open_model"
        raise RequestError(expected("hook", _AT_HAND, _THERE, todo))

    @property
    def inspector(self) -> NoReturn:
        """Refused: modules stay in the process that they are of."""
        todo = "Open it here (open_model), or ask for trace.architecture() or one module's output"
        raise RequestError(expected("inspector", _AT_HAND, _THERE, todo))

    def add_dictionary(self, path: Any, **options: Any) -> NoReturn:
        """Refused: the process that holds the model adds its dictionaries."""
        raise RequestError(expected("dictionary", _AT_HAND, _THERE, "Open it here (open_model) to add a dictionary"))

    def remove_dictionary(self, name: str) -> NoReturn:
        """Refused, as adding one is."""
        raise RequestError(expected("dictionary", _AT_HAND, _THERE, "Open it here (open_model)"))
