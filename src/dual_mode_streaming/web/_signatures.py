"""The signature of a decorated function, with all annotations resolved."""

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin


def undecorated(function: Any) -> Any:
    """Return the function inside `functools.partial`, which has no name and no annotations."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def resolved(function: Any, caller: Mapping[str, Any]) -> tuple[inspect.Signature, Any]:
    """Return the signature with all annotations resolved, and the return annotation.

    FastAPI would resolve strings with the globals of the path operation, which is in our module.

    Args:
        function: the decorated function.
        caller: the local names of the function that decorates.

    Raises:
        TypeError: an annotation cannot be resolved.
    """
    plain = undecorated(function)
    # Only a function that is defined inside of the caller may use the caller's names.
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
    """Return the name of the parameter of type `kind`, if any. FastAPI fills only one of each."""
    for name, parameter in parameters.items():
        annotation = parameter.annotation
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, kind):
            return name
    return None
