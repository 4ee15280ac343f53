"""What a callable looks like to FastAPI: its name, its parameters, all annotations resolved."""

import functools
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Annotated, Any, get_args, get_origin


def layers(function: Any) -> Iterator[Any]:
    """Yield a callable and all that is inside it: of wrappers, partials, methods and objects."""
    seen: list[Any] = []
    while not any(function is layer for layer in seen):
        yield function
        seen.append(function)
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):  # functools.wraps, wrapt
            function = function.__wrapped__
        elif isinstance(function, MethodType):
            function = function.__func__
        elif inspect.isclass(function):
            function = function.__init__
        elif isinstance(function, FunctionType):  # of `functools.partialmethod`
            method = getattr(function, "_partialmethod", None)
            method = method or getattr(function, "__partialmethod__", None)
            function = function if method is None else method.func
        else:
            function = type(function).__call__


def described(function: Any) -> dict[str, Any]:
    """Return the attributes that name and describe a callable, as `functools.wraps` copies them."""
    for layer in layers(function):
        if isinstance(getattr(layer, "__qualname__", None), str):
            break
        if not isinstance(layer, functools.partial):  # an object: it is called like its class
            kind = type(layer)
            return {
                "__name__": kind.__name__,
                "__qualname__": kind.__qualname__,
                "__doc__": kind.__call__.__doc__ or layer.__doc__,
                "__module__": kind.__module__,
            }
    return {
        name: getattr(layer, name, None)
        for name in ("__name__", "__qualname__", "__doc__", "__module__")
    }


def resolved(function: Any) -> tuple[inspect.Signature, Any]:
    """Return the signature with all annotations resolved, and the return annotation.

    What `functools.partial` binds is no parameter. FastAPI would resolve strings with the globals
    of the path operation, which is in our module.

    Args:
        function: any callable.

    Raises:
        TypeError: an annotation cannot be resolved, or the callable has no signature.
    """
    name = described(function)["__qualname__"]
    bound: set[str] = set()
    names: dict[str, Any] = {}
    for layer in layers(function):  # the names of the innermost function win
        if isinstance(layer, functools.partial):
            bound |= layer.keywords.keys()
        elif isinstance(layer, FunctionType):
            names |= layer.__globals__ | _names_around(layer)
    try:
        signature = inspect.signature(function)
        annotations = {key: p.annotation for key, p in signature.parameters.items()}
        annotations["return"] = signature.return_annotation
        hints = _hints(annotations, names)
    except NameError as error:
        raise TypeError(
            f"dual_mode cannot resolve an annotation of {name}: {error}; "
            "import the name where the function is defined, not only under TYPE_CHECKING"
        ) from error
    except ValueError as error:
        raise TypeError(f"dual_mode cannot read the parameters of {name}: {error}") from error
    parameters = [
        parameter.replace(annotation=hints.get(key, parameter.annotation))
        for key, parameter in signature.parameters.items()
        if key not in bound
    ]
    returns = function if inspect.isclass(function) else hints.get("return")
    return signature.replace(parameters=parameters), returns


def _hints(annotations: Mapping[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    def carrier() -> None: ...

    carrier.__annotations__ = {
        name: annotation
        for name, annotation in annotations.items()
        if annotation is not inspect.Parameter.empty
    }
    return typing.get_type_hints(carrier, names, include_extras=True)


def _names_around(function: FunctionType) -> dict[str, Any]:
    """Return the names of the functions and classes in which a function is defined.

    They are those that its code uses itself, and those of the frames that are still running: of a
    factory or a test that decorates.
    """
    enclosing: list[Mapping[str, Any]] = []
    frame = sys._getframe(1)
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        if frame.f_globals is function.__globals__ and _encloses(frame.f_code, function):
            enclosing.append(frame.f_locals)
    names: dict[str, Any] = {}
    for of_frame in reversed(enclosing):
        names |= of_frame
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            pass
    return names


def _encloses(code: CodeType, function: FunctionType) -> bool:
    outer = code.co_qualname
    return function.__qualname__.startswith((f"{outer}.<locals>.", f"{outer}."))


def bare(annotation: Any) -> Any:
    """Return the type of `Annotated[type, ...]`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def notes_of(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """Return what is said about a parameter beside its type: its default, and its notes."""
    return parameter.default, *getattr(parameter.annotation, "__metadata__", ())


def parameter_of(parameters: Mapping[str, inspect.Parameter], kind: type) -> str | None:
    """Return the name of the parameter of type `kind`, if any. FastAPI fills only one of each."""
    for name, parameter in parameters.items():
        annotation = bare(parameter.annotation)
        if isinstance(annotation, type) and issubclass(annotation, kind):
            return name
    return None
