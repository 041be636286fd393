"""How each kind of record is shown: `@draws(Record, form)` stands beside the function that makes that form of it.

The file that draws a record has the name of the file that defines it: `figures/grid.py` draws what is in
`records/grid.py`. It is loaded when such a record is first shown, and brings Plotly and pandas.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, TypeVar

from intravisto_core.errors import TraceError
from intravisto_core.figures.page import figure_page
from intravisto_core.options import call_with_options
from intravisto_core.records import Record

Form = Literal["figure", "page", "frame"]
Function = TypeVar("Function", bound=Callable[..., Any])

_FUNCTIONS: dict[tuple[type[Record], Form], Callable[..., Any]] = {}
_METHODS: dict[Form, str] = {"figure": "figure", "page": "html", "frame": "frame"}


def draws(record: type[Record], form: Form) -> Callable[[Function], Function]:
    """A decorator: the function makes that form of those records.

    Its first argument is the record, its others are options, by name. A record without a page of its own is shown by
    its figure.
    """

    def register(function: Function) -> Function:
        _FUNCTIONS[record, form] = function
        return function

    return register


def draw(record: Record, form: Form, **options: Any) -> Any:
    """One form of a record: a Plotly figure, a page as text, or a pandas table.

    Raises:
        RequestError: an option that it does not have.
        TraceError: nothing draws such a record.
    """
    own = _function(type(record), form)
    function = own or (_function(type(record), "figure") if form == "page" else None)
    if function is None:
        raise TraceError(
            f"{type(record).__name__}: expected a record that is drawn; no function has @draws for its {form}"
        )
    made = call_with_options(f"{type(record).__name__}.{_METHODS[form]}", function, record, **options)
    if form == "figure" or own is None:
        # brings Plotly, which a table does without
        from intravisto_core.figures.plots import name_model

        made = name_model(made, _name_of_model(record), bool(options.get("dark")))
    return made if own else figure_page(made, _name_in_words(type(record).__name__))


def _name_of_model(record: Record) -> str:
    """Every figure says which model it is of; `model` is a list of numbers where a sampler stands beside it."""
    return str(getattr(record, "model_name", "") or getattr(record, "model", ""))


def _function(record: type[Record], form: Form) -> Callable[..., Any] | None:
    if record.__module__.startswith("intravisto_core.records."):
        import_module(f"intravisto_core.figures.{record.__module__.rpartition('.')[2]}")
    return _FUNCTIONS.get((record, form))


def _name_in_words(name: str) -> str:
    """A record's name as the heading of a page: "Batch summary"."""
    first, *others = re.findall("[A-Z][a-z0-9]*|[a-z0-9]+", name)
    return " ".join([first, *(word.lower() for word in others)])
