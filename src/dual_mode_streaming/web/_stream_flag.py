"""The stream flag of a request: a parameter of the function, of the query, or a field of a body."""

import dataclasses
import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Union, get_args, get_origin

from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends, Form, Param
from pydantic import AliasChoices, BaseModel, RootModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import Response

from dual_mode_streaming.negotiation import ResponseMode
from dual_mode_streaming.web._signatures import bare, notes_of

_BOOL: Final = TypeAdapter(bool)
_SCALARS: Final = {str, int, float, bool, bytes, type(None), Request, Response}


class StreamFlag:
    """Reads the flag of each request to one endpoint.

    The first of these that is a bool counts: a parameter of the function with the flag's name or
    alias, or else the query parameter; then a body parameter, of the function and then of what it
    depends on, or the field of one. The value is the validated one: where it is declared as a bool,
    all that pydantic takes for one counts; elsewhere only true and false do. What a dependency
    returns is not searched.

    Args:
        name: the name of the flag, as clients send it; None if there is none.
        signature: the signature of the function.

    Attributes:
        name: the name of the flag.
        query: the name of the query parameter; None if the function has that parameter itself.
    """

    def __init__(self, name: str | None, signature: inspect.Signature) -> None:
        self.name = name
        notes = {key: notes_of(each) for key, each in signature.parameters.items()}
        self._parameter = next((key for key in notes if name in {key, *_aliases(notes[key])}), None)
        self._bodies = tuple(
            key
            for key, of_key in notes.items()
            if not _is_scalar(signature.parameters[key].annotation)
            and not any(isinstance(note, Depends | Param) for note in of_key)
        )
        self.query = name if self._parameter is None else None
        self._of_routes: dict[int, tuple[Any, list[tuple[Any, bool]]]] = {}

    def mode(self, request: Request, values: Mapping[str, Any]) -> ResponseMode | None:
        """Return the mode that the flag asks for; None if the client sent none.

        Raises:
            RequestValidationError: the query parameter is not a bool.
        """
        if self.name is None:
            return None
        if self._parameter is not None:
            flag = values.get(self._parameter)
        else:
            flag = _flag_in_query(self.name, request)
        bodies = iter(self._bodies)
        while not isinstance(flag, bool):
            if (body := next(bodies, None)) is None:
                return None
            flag = _flag_in_body(self.name, values.get(body))
        return ResponseMode.STREAM if flag else ResponseMode.BATCH

    async def mode_of_dependencies(self, request: Request) -> ResponseMode | None:
        """Return the mode that a JSON body of a dependency asks for; None if there is none.

        FastAPI gives the path operation its own parameters alone.
        """
        # The route as an app or router includes it, with the dependencies of that.
        included = request.scope.get("fastapi", {}).get("effective_route_context")
        route = request.scope["route"]
        if getattr(included, "original_route", None) is route:  # not that of a Mount around it
            route = included
        kept, bodies = self._of_routes.get(id(route), (None, []))
        if kept is not route:
            bodies = _bodies_of_dependencies(route)
            self._of_routes[id(route)] = (route, bodies)
        if self.name is None or not bodies:
            return None
        try:
            body = await request.json()  # read before the dependencies were solved
        except ValueError:
            return None
        for field, is_part in bodies:
            part = body.get(field.alias) if is_part and isinstance(body, dict) else body
            value, _ = field.validate(part, {}, loc=("body",))
            flag = value if field.alias == self.name else _flag_in_body(self.name, value)
            if isinstance(flag, bool):
                return ResponseMode.STREAM if flag else ResponseMode.BATCH
        return None


def _bodies_of_dependencies(route: Any) -> list[tuple[Any, bool]]:
    """Return the JSON bodies of a route's dependencies, and whether each is a part of the body."""
    if route.body_field is None or isinstance(route.body_field.field_info, Form):
        return []
    found, dependants = [], list(route.dependant.dependencies)
    for each in dependants:
        found += each.body_params
        dependants += each.dependencies
    is_whole = any(field is route.body_field for field in (*route.dependant.body_params, *found))
    return [(field, not is_whole) for field in found]


def _flag_in_query(name: str, request: Request) -> bool | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        return _BOOL.validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        raise RequestValidationError([{**details, "loc": ("query", name)}]) from None


def _flag_in_body(name: str, body: Any) -> Any:
    kind: Any = type(body)
    return _reader(kind, name)(body)


@functools.lru_cache(maxsize=1024)
def _reader(kind: type, name: str) -> Callable[[Any], Any]:
    """Return the function that reads the flag in bodies of a type; it returns None if none has it.

    Of a model or a dataclass it is the field with this alias, or else with this name.
    """
    if issubclass(kind, RootModel):
        return lambda body: _flag_in_body(name, body.root)
    if issubclass(kind, Mapping):
        return lambda body: body.get(name)
    if issubclass(kind, BaseModel):
        fields: Mapping[str, Iterable[Any]] = {
            key: (field,) for key, field in kind.model_fields.items()
        }
    elif dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        of_pydantic = getattr(kind, "__pydantic_fields__", {})
        fields = {
            field.name: (*get_args(hints[field.name]), field.default, of_pydantic.get(field.name))
            for field in dataclasses.fields(kind)
        }
    else:
        return lambda body: None
    aliased = [key for key, notes in fields.items() if name in _aliases(notes)]
    if aliased or name in fields:
        return operator.attrgetter(aliased[0] if aliased else name)
    return lambda body: (getattr(body, "model_extra", None) or {}).get(name)


def _is_scalar(annotation: Any) -> bool:
    """Return whether a parameter of this type has no fields, so that it is no body with a flag."""
    annotation = bare(annotation)
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is Union:
        return all(map(_is_scalar, get_args(annotation)))
    return isinstance(annotation, type) and annotation in _SCALARS


def _aliases(notes: Iterable[Any]) -> set[str]:
    """Return the names under which clients send a field or a parameter, if it has other names."""
    found: set[str] = set()
    for note in notes:
        if isinstance(note, FieldInfo):
            for alias in (note.alias, note.validation_alias):
                choices = alias.choices if isinstance(alias, AliasChoices) else (alias,)
                found.update(choice for choice in choices if isinstance(choice, str))
    return found
