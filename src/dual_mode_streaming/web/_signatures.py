"""The signature of a decorated function, with every annotation resolved."""

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

__all__ = ["parameter_of", "resolved", "undecorated"]


def undecorated(function: Any) -> Any:
    """The function itself under any `functools.partial`, which has no name and no annotations."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def resolved(function: Any, caller: Mapping[str, Any]) -> tuple[inspect.Signature, Any]:
    """The signature with every annotation resolved, and the return annotation.

    FastAPI resolves strings against the globals of the function it is given, and that is ours.
    """
    plain = undecorated(function)
    # The caller's names mean something to a function that is made inside of it, and only to that.
    local = dict(caller) if "<locals>" in plain.__qualname__ else None
    try:
        hints = typing.get_type_hints(plain, localns=local, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"dual_mode cannot resolve an annotation of {plain.__qualname__}: {error}; "
            "import the name where the function is defined, not only under TYPE_CHECKING"
        ) from error
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in signature.parameters.items()
    ]
    return signature.replace(parameters=parameters), hints.get("return")


def parameter_of(parameters: Mapping[str, inspect.Parameter], kind: type) -> str | None:
    """The name of the function's own parameter of that kind: FastAPI fills only one of each."""
    for name, parameter in parameters.items():
        annotation = parameter.annotation
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, kind):
            return name
    return None
