"""Shapes are checked while tests run: every call and record of the core is held to the arrays that it names.

Of `f(x: Float[Tensor, "pos d_model"]) -> Float[Tensor, " pos"]` the argument and the result are checked, equal names
against each other too. Other types are mypy's; and tests give wrong ones on purpose, to see the project's own errors.
jaxtyping's own import hook wraps every function twice, with or without a shape, which costs half of the suite's time
again. This one wraps those with a shape, once. Generators, and functions inside functions, are left alone.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, jaxtyped

PACKAGE = "intravisto_core"
SHAPE = re.compile(r"\b(Bool|Float|Inexact|Int|Integer|Num|Real|Shaped|UInt)\d*\[")


def has_shape(hint: Any) -> bool:
    """Whether a type names the shape of an array, itself or inside."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(has_shape(inner) for inner in get_args(hint))


def find_shapes(function: Callable[..., Any], owner: type | None = None) -> dict[str, Any]:
    """The annotations that name a shape, by argument; "return" is the result. `owner`: the record that it makes.

    Raises:
        NameError: a type is imported under TYPE_CHECKING alone, or its class is not made yet.
    """
    found = {}
    for name, written in function.__annotations__.items():
        try:
            hint = eval(written, _names(function, owner, name)) if isinstance(written, str) else written
        except (NameError, AttributeError):
            if SHAPE.search(written):
                raise
            continue
        if has_shape(hint):
            found[name] = hint
    return found


def _names(function: Callable[..., Any], owner: type | None, field: str) -> dict[str, Any]:
    """The names that an annotation can use: those of the module where the function, or the field, is written."""
    for each in owner.__mro__ if owner else ():
        if field in vars(each).get("__annotations__", {}):
            return vars(sys.modules[each.__module__])
    return function.__globals__


def hold(function: Callable[..., Any], shapes: dict[str, Any]) -> Callable[..., Any]:
    """The function, held to these shapes."""
    written = function.__annotations__
    function.__annotations__ = shapes
    try:
        checked = jaxtyped(beartype(function), typechecker=None)
    finally:
        function.__annotations__ = written
    checked.__annotations__ = written
    return checked


def check(thing: Any, owner: type | None = None) -> Any:
    """A decorator for functions, methods and classes: those that name shapes are held to them."""
    if isinstance(thing, type):
        if is_dataclass(thing) and "__init__" in vars(thing):
            thing.__init__ = check(thing.__init__, thing)  # type: ignore[misc]
        return thing
    if inspect.isgeneratorfunction(thing):
        return thing  # it begins to run within another function, whose names for sizes are not its own
    try:
        shapes = find_shapes(thing, owner)
    except NameError:
        return check_later(thing, owner)
    return hold(thing, shapes) if shapes else thing


def check_later(function: Callable[..., Any], owner: type | None) -> Callable[..., Any]:
    """As `check`, from the first call on: a method may name its own class, which is not made yet."""

    @functools.cache
    def held() -> Callable[..., Any]:
        return hold(function, find_shapes(function, owner))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return held()(*args, **kwargs)

    return call


class _Decorator(ast.NodeTransformer):
    """Puts `check` on every class and on every function that stands in a module or a class."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(_name_of_check(node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list.insert(0, _name_of_check(node))
        return node


def _name_of_check(node: ast.AST) -> ast.expr:
    return ast.fix_missing_locations(ast.copy_location(ast.Name("__check_shapes__", ast.Load()), node))


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _Decorator().visit(ast.parse(self.get_data(path), path))
        return compile(tree, path, "exec", dont_inherit=True)  # nothing of it gets into the cache of bytecode

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__check_shapes__"] = check
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname.partition(".")[0] != PACKAGE:
            return None
        spec: ModuleSpec | None = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Check from here on what is imported of the core; to be called before anything of it is."""
    assert PACKAGE not in sys.modules
    sys.meta_path.insert(0, _Finder())
